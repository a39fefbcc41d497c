import { readFile } from 'node:fs/promises'
import { KelError, parsePin, parseStatementEnvelope, verifyLog, verifyStatement } from '@keyturn/kel'
import type { VerifiedLog, VerifiedStatement, VerifyStatementOptions } from '@keyturn/kel'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { formatTable } from '../output.ts'
import { openIdentity, readOwnLog, sealProofs } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { descendantDigests, readNote } from './git-notes.ts'
import type { Subject } from '../signed-subject.ts'
import { subjectOf } from '../signed-subject.ts'

interface VerifyOptions {
  readonly signature?: string | undefined
  readonly log?: string | undefined
  readonly pin?: string | undefined
  readonly allowUnproven?: boolean | undefined
  readonly commit?: string | undefined
  readonly repo: string
}

/** Registers `keyturn verify`. */
export function registerVerify(program: Command, cli: Cli): void {
  const verify = program
    .command('verify [file]')
    .description('verify a signature at its place in the log, and say how well that place is proved')
    .option('--signature <file>', 'the signature file (default: FILE.sig)')
    .option('--log <file>', 'key event log of the signer, CESR (default: an identity of this home)')
    .option('--pin <pin>', 'did:keri:<prefix>?sn=&said= that the log must contain')
    .option('--allow-unproven', 'a right signature whose place is only claimed counts as valid')
    .option('--commit <revision>', 'verify a git commit instead')
    .option('--repo <dir>', 'the git repository', '.')
  cli.define<VerifyOptions>(verify, {
    example: ['keyturn verify setup.exe --log their.cesr', 'keyturn verify --commit v1.2 --log their.cesr'],
    run: runVerify,
  })
}

async function signatureOf(file: string | undefined, subject: Subject, options: VerifyOptions): Promise<Uint8Array> {
  if (options.signature !== undefined) return await readFile(options.signature)
  if (subject.purpose === 'file') return await readFile(`${file ?? ''}.sig`)
  const note = await readNote(options.repo, subject.name)
  if (note === undefined)
    throw new CliError('CLI_PATH_UNKNOWN', `Commit ${subject.name} has no note with a signature`, {
      hint: 'git fetch origin refs/notes/keyturn:refs/notes/keyturn',
    })
  return note
}

/** The log to verify against, and whose home it is of, if it is one of ours. */
interface SignerLog {
  readonly log: VerifiedLog
  readonly identity: Identity | undefined
}

async function logOf(context: Context, envelope: Uint8Array, options: VerifyOptions): Promise<SignerLog> {
  const maxBytes = 64 * 1024 * 1024
  const { identity: prefix } = parseStatementEnvelope(envelope).statement
  const pin = options.pin === undefined ? undefined : parsePin(options.pin)
  if (pin !== undefined && pin.prefix !== prefix)
    throw new KelError('KEL_PREFIX', `Signature is by ${prefix}, the pin names ${pin.prefix}`)
  if (options.log !== undefined)
    return { log: verifyLog(await readFile(options.log), { prefix, maxBytes, pin }), identity: undefined }
  const identity = await openIdentity(context, { alias: prefix })
  return { log: verifyLog(await readOwnLog(identity), { prefix, maxBytes, pin }), identity }
}

/** Verifies with the proof in the signature, else with those that are kept in our home. */
async function strongest(
  { log, identity }: SignerLog,
  envelope: Uint8Array,
  subject: Subject,
  options: VerifyStatementOptions,
): Promise<VerifiedStatement> {
  const plain = verifyStatement(envelope, subject.digest, log, options)
  if (plain.sealedBy !== undefined || identity === undefined) return plain
  for (const proof of await sealProofs(identity, subject.digest)) {
    const proved = verifyStatement(envelope, subject.digest, log, { ...options, proof })
    if (proved.sealedBy !== undefined) return proved
  }
  return plain
}

const positions: Readonly<Record<VerifiedStatement['position'], string>> = {
  witnessed: 'sealed in the log, and the sealing event is witnessed',
  sealed: 'sealed in the log',
  ancestor: 'ancestor of a commit that is sealed in the log',
  current: 'made by a key that is still in force at the end of the log',
  claimed: 'only claimed by the signer',
}

async function runVerify(
  context: Context,
  options: VerifyOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const subject = await subjectOf(file, options)
  const envelope = await signatureOf(file, subject, options)
  const signer = await logOf(context, envelope, options)
  const { log } = signer
  const descendants = subject.purpose === 'commit' ? await descendantDigests(options.repo, subject.name) : []
  const verified = await strongest(signer, envelope, subject, {
    purpose: subject.purpose,
    // A file may have been renamed; a commit is its id.
    name: subject.purpose === 'commit' ? subject.name : undefined,
    descendants,
    allowUnproven: true,
  })
  const { statement, position, sealedBy, retiredBy, proven } = verified
  const accepted = proven || options.allowUnproven === true
  return {
    data: {
      valid: true,
      proven,
      accepted,
      position,
      code: proven ? undefined : 'KEL_POSITION_UNPROVEN',
      purpose: statement.purpose,
      name: statement.name,
      identity: statement.identity,
      sn: statement.sn,
      said: statement.said,
      claimed_at: statement.claimedAt,
      sealed_by: sealedBy === undefined ? null : { ...sealedBy },
      retired_by: retiredBy === undefined ? null : { ...retiredBy },
      log_sn: log.state.sn,
      log_said: log.state.said,
    },
    text: [
      proven ? 'Valid' : 'Valid, position unproven',
      formatTable([
        ['signed', `${statement.purpose} ${statement.name ?? ''}`],
        ['by', `did:keri:${statement.identity} at event ${statement.sn}`],
        ['place', `${positions[position]}${sealedBy === undefined ? '' : ` (event ${sealedBy.sn})`}`],
        [
          'key',
          retiredBy === undefined
            ? `in force at event ${log.state.sn}, the last one known here`
            : `retired by event ${retiredBy.sn}`,
        ],
        ['claimed time', `${statement.claimedAt} (proves nothing)`],
      ]),
    ].join('\n'),
    no: !accepted,
  }
}
