import { readFile } from 'node:fs/promises'
import { verifyLog } from '@keyturn/kel'
import type { VerifiedEvent, VerifiedLog } from '@keyturn/kel'
import type { JsonValue } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { openIdentity, readOwnLog } from '@keyturn/publisher/identity'
import { eventJson, stateJson } from './json.ts'
import type { AliasOption } from './show.ts'

interface LogOptions extends AliasOption {
  readonly file?: string | undefined
}

/** Registers `keyturn id log`. */
export function registerIdLog(id: Command, cli: Cli): void {
  const log = id
    .command('log')
    .description('list the events of the log in order, with what each of them did')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('--file <file>', "a CESR file of anybody's log instead")
  cli.define<LogOptions>(log, { example: ['keyturn id log', 'keyturn id log --file their.cesr --json'], run: runLog })
}

const done: Readonly<Record<VerifiedEvent['type'], string>> = {
  icp: 'inception',
  rot: 'rotation',
  ixn: 'interaction',
  dip: 'delegated inception',
  drt: 'delegated rotation',
}

function sealText(seal: JsonValue): string {
  if (typeof seal === 'object' && seal !== null && !Array.isArray(seal) && typeof seal['d'] === 'string')
    return seal['d']
  return JSON.stringify(seal)
}

function logLine(log: VerifiedLog, event: VerifiedEvent, superseded: boolean): string[] {
  const state = superseded ? undefined : log.stateAt(event.sn)
  const keys =
    event.type === 'ixn' || state === undefined
      ? ''
      : `keys ${state.keys.map((key) => `${key.slice(0, 12)}…`).join(' ')}`
  const seals = event.seals.length === 0 ? '' : `seals ${event.seals.map(sealText).join(' ')}`
  return [
    String(event.sn),
    done[event.type],
    event.said,
    [keys, seals, superseded ? 'superseded' : ''].filter((part) => part !== '').join('; '),
  ]
}

async function runLog(context: Context, options: LogOptions): Promise<CommandResult> {
  const bytes =
    options.file === undefined ? await readOwnLog(await openIdentity(context, options)) : await readFile(options.file)
  const log = verifyLog(bytes, { maxBytes: 64 * 1024 * 1024 })
  const lines = [
    ...log.events.map((event) => logLine(log, event, false)),
    ...log.superseded.map((event) => logLine(log, event, true)),
  ]
  return {
    data: {
      state: stateJson(log.state),
      events: log.events.map(eventJson),
      superseded: log.superseded.map(eventJson),
      warnings: [...log.warnings],
    },
    text: [`did:keri:${log.prefix}`, formatTable(lines)].join('\n'),
  }
}
