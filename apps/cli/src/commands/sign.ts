import { readFile } from 'node:fs/promises'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { isEstablishmentOnly, KelError, parseStatementEnvelope, verifyLog, verifyStatement } from '@keyturn/kel'
import { attachSealProof, sha256Seal, interact, signStatement } from '@keyturn/kel/owner'
import type { AppendResult, Kel, Statement } from '@keyturn/kel'
import type { Signer } from '@keyturn/kel/owner'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { formatTable } from '../output.ts'
import {
  appendWitnessed,
  listSigned,
  openIdentity,
  openOwnLog,
  refuseFrozen,
  sealProofs,
} from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { refuseWhileKeyRotates } from '@keyturn/publisher/pending'
import { writeNote } from './git-notes.ts'
import { subjectOf } from '../signed-subject.ts'
import type { Subject } from '../signed-subject.ts'

interface SignOptions {
  readonly alias?: string | undefined
  readonly output?: string | undefined
  readonly force?: boolean | undefined
  readonly seal?: boolean | undefined
  readonly unlisted?: boolean | undefined
  readonly addProof?: boolean | undefined
  readonly commit?: string | undefined
  readonly repo: string
}

/** Registers `keyturn sign`. */
export function registerSign(program: Command, cli: Cli): void {
  const sign = program
    .command('sign [file]')
    .description('sign a file or a commit with the identity; the next rotation seals it, so that it stays valid')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('-o, --output <file>', 'the signature file (default: FILE.sig)')
    .option('--force', 'overwrite the signature file')
    .option('--seal', 'seal the digest in the log at once, with an event of its own')
    .option('--unlisted', 'do not let the next rotation seal it: its place is unproven from then on')
    .option('--add-proof', 'sign nothing: add to FILE.sig the proof that a rotation sealed it with many others')
    .option('--commit <revision>', 'sign a git commit instead; the signature becomes a note (refs/notes/keyturn)')
    .option('--repo <dir>', 'the git repository', '.')
  cli.define<SignOptions>(sign, {
    example: ['keyturn sign setup.exe', 'keyturn sign setup.exe --alias laptop --seal', 'keyturn sign --commit HEAD'],
    dryRun: true,
    run: runSign,
  })
}

/** What is signed, and how. */
interface Work {
  readonly context: Context
  readonly options: SignOptions
  readonly identity: Identity
  readonly subject: Subject
}

/** A signature that was made. */
interface Signed {
  readonly envelope: Uint8Array
  readonly statement: Statement
  readonly sealed: AppendResult | undefined
}

async function runSign(
  context: Context,
  options: SignOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  if (options.addProof === true) return await addProof(context, options, file)
  if (options.seal === true && options.unlisted === true)
    throw new CliError('CLI_USAGE', '--seal and --unlisted contradict each other: give only one')
  await refuseFrozen(context.homeFolder, context.clock)
  const subject = await subjectOf(file, options)
  const output = options.output ?? `${file ?? ''}.sig`
  if (subject.purpose === 'file' && options.force !== true && (await pathExists(output)))
    throw new CliError('CLI_EXISTS', `"${output}" is there already`, { hint: 'Give --force' })
  const identity = await openIdentity(context, { alias: options.alias, write: options.seal === true })
  const signed = await signSubject({ context, options, identity, subject })
  const { statement } = signed
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
  if (subject.purpose === 'commit') await writeNote(options.repo, subject.name, signed.envelope)
  else await writeFileAtomic(output, signed.envelope, { overwrite: true })
  const where = subject.purpose === 'commit' ? `note of commit ${subject.name}` : output
  const sealedAt = signed.sealed?.accepted[0]
  return {
    data: { ...result, signature: where, sealed_at: sealedAt?.sn, listed: isListed(options) },
    text: formatTable([
      ['signed', `${subject.name}, SHA-256 ${statement.sha256}`],
      ['by', `did:keri:${identity.prefix} at event ${statement.sn}`],
      ['signature', where],
      ...(sealedAt === undefined ? [] : [['sealed', `event ${sealedAt.sn}, ${sealedAt.said}`]]),
      ...(isListed(options) ? [['seal', 'by the next rotation']] : []),
    ]),
  }
}

function isListed({ seal, unlisted }: SignOptions): boolean {
  return seal !== true && unlisted !== true
}

async function signSubject(work: Work): Promise<Signed> {
  const { context, options, identity, subject } = work
  const kel = await openOwnLog(identity)
  if (options.seal === true && isEstablishmentOnly(kel.state)) {
    throw new KelError('KEL_TRAIT', 'This identity seals in rotations only: see "keyturn id rotate --seal-tip"', {
      hint: 'Sign without --seal: the next rotation seals what was signed before it',
    })
  }
  const keys = await identity.keys()
  const signer = await keys.eventSigner([identity.alias])
  if (context.dryRun || !isListed(options)) {
    await refuseWhileKeyRotates(identity)
    const signed = await sign(work, kel, signer)
    if (context.dryRun || options.seal !== true) return signed
    const event = await interact(kel.state, [sha256Seal(subject.digest)], signer)
    return { ...signed, sealed: await appendWitnessed(identity, kel, event, context.signal) }
  }
  return await listSigned(identity, async () => {
    await refuseWhileKeyRotates(identity)
    const signed = await sign(work, await openOwnLog(identity), signer)
    return { ...signed, sn: signed.statement.sn, digest: signed.statement.sha256 }
  })
}

async function sign({ context, subject }: Work, kel: Kel, signer: Signer): Promise<Signed> {
  const { purpose, digest, name } = subject
  const content = { purpose, sha256: digest, name, claimedAtMs: context.clock() }
  const envelope = await signStatement(kel.state, content, signer)
  return { envelope, statement: parseStatementEnvelope(envelope).statement, sealed: undefined }
}

/** Puts the proof into a signature file, so that anyone who has the log can verify its place. */
async function addProof(context: Context, options: SignOptions, file: string | undefined): Promise<CommandResult> {
  if (file === undefined || options.commit !== undefined)
    throw new CliError('CLI_USAGE', '--add-proof wants a file: the seal of a commit needs no proof beside it')
  const subject = await subjectOf(file, options)
  const path = options.output ?? `${file}.sig`
  const envelope = await readFile(path)
  const identity = await openIdentity(context, { alias: parseStatementEnvelope(envelope).statement.identity })
  const log = verifyLog(await (await openOwnLog(identity)).export(), { maxBytes: 64 * 1024 * 1024 })
  for (const proof of await sealProofs(identity, subject.digest)) {
    const proved = attachSealProof(envelope, proof)
    const { sealedBy } = verifyStatement(proved, subject.digest, log, { allowUnproven: true })
    if (sealedBy === undefined) continue
    if (!context.dryRun) await writeFileAtomic(path, proved, { overwrite: true })
    return {
      data: { signature: path, sealed_at: sealedBy.sn, ...(context.dryRun ? { dry_run: true } : {}) },
      text: `${context.dryRun ? 'Would add' : 'Added'} the proof that event ${sealedBy.sn} seals it to ${path}`,
    }
  }
  throw new KelError('KEL_POSITION_UNPROVEN', `No rotation has sealed "${subject.name}" together with others`, {
    hint: 'A signature that an event seals by itself needs no proof: try "keyturn verify"',
  })
}
