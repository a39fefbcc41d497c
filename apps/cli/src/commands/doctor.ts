import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { withServer } from '../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import { diagnose } from '@keyturn/publisher/health'
import { openClient, serverUrl } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import { counted, formatTable } from '../output.ts'
import { checkDelivery } from './doctor-delivery.ts'
import { checkAgentPlace, checkServerPlace } from './doctor-places.ts'

interface DoctorOptions extends ServerOptions {
  readonly deep?: boolean | undefined
  readonly offline?: boolean | undefined
  readonly data?: string | undefined
}

/** Registers `keyturn doctor`. */
export function registerDoctor(program: Command, cli: Cli): void {
  const doctor = withServer(
    program
      .command('doctor')
      .description('prove that keys, log, releases, archives and server belong together; exit 1 when not')
      .option('--deep', 'read every byte of every archive on offer')
      .option('--offline', 'do not ask the server')
      .option('--data <dir>', 'folder of a server on this machine to look into (default: server in the home)'),
  )
  cli.define<DoctorOptions>(doctor, { example: ['keyturn doctor', 'keyturn doctor --deep --json'], run: runDoctor })
}

async function runDoctor(context: Context, options: DoctorOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const server = options.offline === true ? undefined : serverUrl(options, home.description)
  const looked = await diagnose(home, {
    nowMs: context.clock(),
    deep: options.deep === true,
    signal: context.signal,
    client: server === undefined ? undefined : await openClient(options, home),
  })
  const findings = [
    ...looked,
    ...(await checkAgentPlace(context)),
    ...(await checkServerPlace(context, home, { data: options.data, deep: options.deep === true })),
    ...(server === undefined ? [] : await checkDelivery(context, home, server)),
  ]
  const errors = findings.filter(({ level }) => level === 'error').length
  const warnings = findings.filter(({ level }) => level === 'warning').length
  const rows = findings.flatMap(({ check, level, message, mend }) => [
    [level === 'ok' ? 'ok' : level.toUpperCase(), check, message],
    ...(mend === '' ? [] : [['', '', `fix: ${mend}`]]),
  ])
  return {
    data: { errors, warnings, findings: findings.map((finding) => ({ ...finding })) },
    text: `${formatTable(rows)}\n\n${errors === 0 ? 'Sound' : counted(errors, 'error')}${warnings === 0 ? '' : `, ${counted(warnings, 'warning')}`}`,
    failure:
      errors === 0
        ? undefined
        : new CliError('CLI_DUE', `The home is not sound: ${counted(errors, 'error')}`, {
            hint: 'Each finding names the command that fixes it',
          }),
  }
}
