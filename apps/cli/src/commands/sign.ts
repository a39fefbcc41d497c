import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import {
  sha256Seal,
  interact,
  isEstablishmentOnly,
  KelError,
  parseStatementEnvelope,
  signStatement,
} from '@keyturn/kel'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { formatTable } from '../output.ts'
import { appendWitnessed, openIdentity, openOwnLog, refuseFrozen } from '@keyturn/publisher/identity'
import { writeNote } from './git-notes.ts'
import { subjectOf } from '../signed-subject.ts'

interface SignOptions {
  readonly alias?: string
  readonly output?: string
  readonly force?: boolean
  readonly seal?: boolean
  readonly commit?: string
  readonly repo: string
}

/** Registers `keyturn sign`. */
export function registerSign(program: Command, cli: Cli): void {
  const sign = program
    .command('sign [file]')
    .description('sign a file or a commit with the identity; the signature names its place in the key event log')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('-o, --output <file>', 'the signature file (default: FILE.sig)')
    .option('--force', 'overwrite the signature file')
    .option('--seal', 'seal the digest in the log too, which proves its place forever')
    .option('--commit <revision>', 'sign a git commit instead; the signature becomes a note (refs/notes/keyturn)')
    .option('--repo <dir>', 'the git repository', '.')
  cli.define<SignOptions>(sign, {
    example: ['keyturn sign setup.exe', 'keyturn sign setup.exe --alias laptop --seal', 'keyturn sign --commit HEAD'],
    dryRun: true,
    run: runSign,
  })
}

async function runSign(
  context: Context,
  options: SignOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  await refuseFrozen(context.homeFolder, context.clock)
  const subject = await subjectOf(file, options)
  const output = options.output ?? `${file ?? ''}.sig`
  if (subject.purpose === 'file' && options.force !== true && (await pathExists(output)))
    throw new CliError('CLI_EXISTS', `"${output}" is there already`, { hint: 'Give --force' })
  const identity = await openIdentity(context, { alias: options.alias, write: options.seal === true })
  const kel = await openOwnLog(identity)
  if (options.seal === true && isEstablishmentOnly(kel.state)) {
    throw new KelError('KEL_TRAIT', 'This identity seals in rotations only: see "keyturn id rotate --seal-tip"')
  }
  const keys = await identity.keys()
  const signer = await keys.eventSigner([identity.alias])
  const envelope = await signStatement(
    kel.state,
    { purpose: subject.purpose, sha256: subject.digest, name: subject.name, claimedAtMs: context.clock() },
    signer,
  )
  const { statement } = parseStatementEnvelope(envelope)
  const result = {
    identity: identity.prefix,
    sn: statement.sn,
    said: statement.said,
    sha256: statement.sha256,
    purpose: subject.purpose,
    name: subject.name,
  }
  if (context.dryRun)
    return { data: { ...result, dry_run: true }, text: `Would sign ${subject.name} at event ${statement.sn}` }
  const sealed =
    options.seal === true
      ? await appendWitnessed(
          identity,
          kel,
          await interact(kel.state, [sha256Seal(subject.digest)], signer),
          context.signal,
        )
      : undefined
  if (subject.purpose === 'commit') await writeNote(options.repo, subject.name, envelope)
  else await writeFileAtomic(output, envelope, { overwrite: true })
  const where = subject.purpose === 'commit' ? `note of commit ${subject.name}` : output
  const sealedAt = sealed?.accepted[0]
  return {
    data: { ...result, signature: where, sealed_at: sealedAt?.sn },
    text: formatTable([
      ['signed', `${subject.name}, SHA-256 ${statement.sha256}`],
      ['by', `did:keri:${identity.prefix} at event ${statement.sn}`],
      ['signature', where],
      ...(sealedAt === undefined ? [] : [['sealed', `event ${sealedAt.sn}, ${sealedAt.said}`]]),
    ]),
  }
}
