import { readFile } from 'node:fs/promises'
import { checkStream, compareLogs, Kel, verifyLog } from '@keyturn/kel'
import { fileLog } from '@keyturn/kel/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted } from '../../output.ts'
import { openIdentity } from '@keyturn/publisher/identity'

interface ImportOptions {
  readonly alias?: string
}

/** Registers `keyturn id import`. */
export function registerIdImport(id: Command, cli: Cli): void {
  const command = id
    .command('import <file>')
    .description("take over events that this identity's owner made elsewhere, after verifying all of them")
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<ImportOptions>(command, { example: 'keyturn id import identity.cesr', run: runImport })
}

async function runImport(
  context: Context,
  options: ImportOptions,
  [file = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const identity = await openIdentity(context, { ...options, write: true })
  const bytes = await readFile(file)
  const offered = verifyLog(bytes, { prefix: identity.prefix, maxBytes: 64 * 1024 * 1024 })
  // The events come from outside, whatever made them: importing is how they are let in.
  const kel = await Kel.open(fileLog(identity.logPath), identity.prefix)
  const held = verifyLog(await kel.export(), { maxBytes: 64 * 1024 * 1024 })
  const { relation } = compareLogs(held, offered)
  let taken = 0
  const events = new Map([...offered.superseded, ...offered.events].map((event) => [event.said, event]))
  // In the order of the file, which is the order its owner saw them in: what a rotation supersedes came before it.
  for (const { said } of checkStream(bytes).messages) {
    const event = events.get(said)
    if (event === undefined || kel.firstSeen.includes(said)) continue
    // A fork ends at the first rival event with KEL_DUPLICITY, which also keeps the evidence.
    const { accepted } = await kel.append(event.message, 'remote')
    taken += accepted.length
  }
  return {
    data: { relation, taken, sn: kel.state.sn, said: kel.state.said },
    text: `${counted(taken, 'event')} taken over; the log ends at event ${kel.state.sn}`,
  }
}
