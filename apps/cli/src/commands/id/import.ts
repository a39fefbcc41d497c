import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { compareLogs, Kel, verifyLog } from '@keyturn/kel'
import { gitStore, readAuthsLog } from '@keyturn/kel/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted } from '../../output.ts'
import { adoptRoles, openIdentity, readLogCopy } from '@keyturn/publisher/identity'
import type { Identity, LogCopy } from '@keyturn/publisher/identity'
import { MAX_LOG_BYTES, takeOver } from './take-over.ts'

interface ImportOptions {
  readonly alias?: string | undefined
  readonly git?: string | undefined
  readonly nextKeyFile?: string | undefined
}

/** Registers `keyturn id import`. */
export function registerIdImport(id: Command, cli: Cli): void {
  const command = id
    .command('import [file]')
    .description("import events that this identity's owner made elsewhere, after verifying all of them")
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('--git <dir>', 'from a git repository: refs/keri/<prefix>/kel, else where auths keeps logs')
    .option('--next-key-file <file>', 'from the copy of the log that rotations keep beside this file with the next key')
  cli.define<ImportOptions>(command, {
    example: [
      'keyturn id import identity.cesr',
      'keyturn id import --git ~/.auths',
      'keyturn id import --next-key-file /media/usb/next.keystore',
    ],
    run: runImport,
  })
}

async function runImport(
  context: Context,
  options: ImportOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const { git, nextKeyFile } = options
  if ([file, git, nextKeyFile].filter((source) => source !== undefined).length !== 1)
    throw new CliError('CLI_USAGE', 'Give exactly one of: a file, --git, --next-key-file')
  const identity = await openIdentity(context, { ...options, write: true })
  const limits = { prefix: identity.prefix, maxBytes: MAX_LOG_BYTES }
  const copy = nextKeyFile === undefined ? undefined : await copyBeside(identity, resolve(nextKeyFile))
  const bytes =
    copy?.bytes ?? (git === undefined ? await readFile(file as string) : await fromGit(resolve(git), identity.prefix))
  const offered = verifyLog(bytes, limits)
  // The events come from outside: importing is how they get in.
  const kel = await Kel.open(identity.log, identity.prefix, { maxLogBytes: MAX_LOG_BYTES })
  // A log in git that was lost is written again from the first event.
  const relation = kel.isStarted ? compareLogs(verifyLog(await kel.export(), limits), offered).relation : 'ahead'
  // A fork is found before any of it is written.
  if (copy !== undefined && relation === 'ahead') await adoptRoles(identity, copy)
  const taken = await takeOver(bytes, kel)
  return {
    data: { relation, taken, sn: kel.state.sn, said: kel.state.said },
    text: `${counted(taken, 'event')} imported; the log ends at event ${kel.state.sn}`,
  }
}

async function copyBeside(identity: Identity, nextKeyFile: string): Promise<LogCopy> {
  const copy = await readLogCopy(identity, nextKeyFile)
  if (copy !== undefined) return copy
  throw new CliError('CLI_PATH_UNKNOWN', `No copy of the log beside "${nextKeyFile}"`, {
    hint: 'A rotation writes one, where the file is outside the home. Give the file of another copy of the log',
  })
}

/** The log in a repository, in our layout or in one that auths uses; `KEL_LOG_MISSING` when it is in neither. */
async function fromGit(repository: string, prefix: string): Promise<Uint8Array> {
  return (await gitStore(repository).log(prefix).read())?.stream ?? (await readAuthsLog(repository, prefix))
}
