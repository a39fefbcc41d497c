import type { Command } from 'commander'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { refuseExisting } from '../../paths.ts'
import { openIdentity } from '@keyturn/publisher/identity'
import { emergencyReport, reportText } from './incident.ts'

interface ReportOptions {
  readonly alias?: string | undefined
  readonly events: string
  readonly output?: string | undefined
  readonly force?: boolean | undefined
}

export function registerReport(emergency: Command, cli: Cli): void {
  const report = emergency
    .command('report')
    .description('report what the log, the devices and the evidence say about an incident')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('--events <n>', 'how many of the last events', '100')
    .option('-o, --output <file>', 'write the report as JSON into a file')
    .option('--force', 'replace an existing file')
  cli.define<ReportOptions>(report, { example: 'keyturn emergency report --output incident.json', run: runReport })
}

async function runReport(context: Context, options: ReportOptions): Promise<CommandResult> {
  const limit = Number(options.events)
  if (!Number.isInteger(limit) || limit < 1) throw new CliError('CLI_USAGE', '--events wants a whole number')
  refuseExisting(options.output, options.force)
  const report = await emergencyReport(context, await openIdentity(context, { alias: options.alias }), limit)
  if (options.output !== undefined)
    await writeFileAtomic(options.output, new TextEncoder().encode(`${JSON.stringify(report, null, 2)}\n`), {
      overwrite: options.force === true,
    })
  return { data: report, text: reportText(report) }
}
