import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { compareLogs, Kel, verifyLog } from '@keyturn/kel'
import { gitStore, readAuthsLog } from '@keyturn/kel/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted } from '../../output.ts'
import { openIdentity } from '@keyturn/publisher/identity'
import { MAX_LOG_BYTES, takeOver } from './take-over.ts'

interface ImportOptions {
  readonly alias?: string | undefined
  readonly git?: string | undefined
}

/** Registers `keyturn id import`. */
export function registerIdImport(id: Command, cli: Cli): void {
  const command = id
    .command('import [file]')
    .description("take over events that this identity's owner made elsewhere, after verifying all of them")
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('--git <dir>', 'from a git repository: refs/keri/<prefix>/kel, else where auths keeps logs')
  cli.define<ImportOptions>(command, {
    example: ['keyturn id import identity.cesr', 'keyturn id import --git ~/.auths'],
    run: runImport,
  })
}

async function runImport(
  context: Context,
  options: ImportOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  if ((file === undefined) === (options.git === undefined))
    throw new CliError('CLI_USAGE', 'Give a file or --git, one of them')
  const identity = await openIdentity(context, { ...options, write: true })
  const limits = { prefix: identity.prefix, maxBytes: MAX_LOG_BYTES }
  const bytes =
    options.git === undefined ? await readFile(file as string) : await fromGit(resolve(options.git), identity.prefix)
  const offered = verifyLog(bytes, limits)
  // The events come from outside, no matter who made them: importing is how they get in.
  const kel = await Kel.open(identity.log, identity.prefix)
  // A log in git that was lost starts again with the first event.
  const relation = kel.isStarted ? compareLogs(verifyLog(await kel.export(), limits), offered).relation : 'ahead'
  const taken = await takeOver(bytes, kel)
  return {
    data: { relation, taken, sn: kel.state.sn, said: kel.state.said },
    text: `${counted(taken, 'event')} taken over; the log ends at event ${kel.state.sn}`,
  }
}

/** The log in a repository, in our layout or in one that auths uses; `KEL_LOG_MISSING` if neither has it. */
async function fromGit(repository: string, prefix: string): Promise<Uint8Array> {
  return (await gitStore(repository).log(prefix).read())?.stream ?? (await readAuthsLog(repository, prefix))
}
