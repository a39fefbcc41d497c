import {
  dssePae,
  ed25519Verify,
  equalBytes,
  hexDecode,
  isRecord,
  requireBytes,
  requireMembers,
  sha256,
} from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { encodeMatter } from './cesr/matter.ts'
import { KelError } from './errors.ts'
import type { KeyState, Place } from './key-state.ts'
import type { VerifiedEvent } from './log.ts'
import { quoted } from './rule.ts'
import { rootOfProof, rootSeal } from './seal-tree.ts'
import type { SealProof } from './seal-tree.ts'
import { digestBytes, parseStatementEnvelope, STATEMENT_TYPE } from './statement.ts'
import type { Statement, StatementPurpose } from './statement.ts'
import type { VerifiedLog } from './verified-log.ts'

/**
 * How well it is proved that the signature was made while its key was in force, strongest first: sealed in an event
 * that witnesses have signed; sealed in an event; an ancestor of a commit that is sealed; by keys that are still in
 * force; or by nothing but the signer's own word.
 */
export type PositionProof = 'witnessed' | 'sealed' | 'ancestor' | 'current' | 'claimed'

/** A statement whose signatures are right, and what its place is worth. */
export interface VerifiedStatement {
  readonly statement: Statement
  readonly position: PositionProof
  /** The event that seals it, if one does. */
  readonly sealedBy: Place | undefined
  /** The rotation that retired the signing keys; undefined while they are in force. */
  readonly retiredBy: Place | undefined
  /** False only for `claimed`: the signature is right, its time is not proved. */
  readonly proven: boolean
}

/** What the verifier knows beyond log and signature. */
export interface VerifyStatementOptions {
  /** Default `'file'`. */
  readonly purpose?: StatementPurpose | undefined
  /** The name that the statement must state, for instance the id of the commit that was asked for. Default: any. */
  readonly name?: string | undefined
  /**
   * `true` returns a statement of which nothing proves that it was made while its key was in force, with `proven:
   * false`. Default: it is refused, since anyone who stole a retired key can make one.
   */
  readonly allowUnproven?: boolean | undefined
  /** Digests (32 bytes, SHA-256) of sealed descendants of a commit, found by the caller in the repository. */
  readonly descendants?: readonly Uint8Array[] | undefined
  /** Proof that the digest is below a sealed root. Default: the one in the signature file, if there is one. */
  readonly proof?: SealProof | undefined
  /** Number of verified witness signatures on an event. Default: what the log holds. */
  readonly witnessCount?: ((said: string) => number) | undefined
}

/** The establishment that took over from the keys of a place. */
function retirement(log: VerifiedLog, sn: number): VerifiedEvent | undefined {
  return log.events.slice(sn + 1).find((event) => event.type === 'rot' || event.type === 'drt')
}

/** Values of one member of the seals of an event: `d` of digests, `rd` of roots. */
function sealedIn(event: VerifiedEvent, member: 'd' | 'rd'): readonly string[] {
  return event.seals.flatMap((seal: JsonValue) => {
    const value = isRecord(seal) ? seal[member] : undefined
    return typeof value === 'string' ? [value] : []
  })
}

/**
 * The event that seals a digest while the keys of a place are in force: from that place on, up to and including the
 * rotation that retires them, whose author vouches for what was there before.
 */
export function findSeal(log: VerifiedLog, sn: number, digest: Uint8Array): VerifiedEvent | undefined {
  const text = encodeMatter('I', digest)
  return whileInForce(log, sn).find((event) => sealedIn(event, 'd').includes(text))
}

function whileInForce(log: VerifiedLog, sn: number): readonly VerifiedEvent[] {
  return log.events.slice(sn, (retirement(log, sn)?.sn ?? log.state.sn) + 1)
}

/** As {@link findSeal}, for a digest below a sealed root. */
function findRoot(log: VerifiedLog, sn: number, digest: Uint8Array, proof: SealProof): VerifiedEvent | undefined {
  const root = rootOfProof(digest, proof)
  if (root === undefined) return undefined
  const { rd } = rootSeal(root)
  return whileInForce(log, sn).find((event) => sealedIn(event, 'rd').includes(rd))
}

function checkPlace(log: VerifiedLog, statement: Statement): KeyState {
  if (statement.identity !== log.prefix)
    throw new KelError('KEL_PREFIX', `Statement is by ${statement.identity}, the log is of ${log.prefix}`)
  const event = log.events[statement.sn]
  if (event?.said === statement.said) return log.stateAt(statement.sn) as KeyState
  if (log.superseded.some(({ said }) => said === statement.said)) {
    throw new KelError('KEL_SUPERSEDED_KEY', `Statement names event ${statement.sn}, which a rotation has superseded`)
  }
  throw new KelError('KEL_STATEMENT', `Statement names an event ${statement.sn} that is not in the log`, {
    hint: 'Fetch the newest log',
  })
}

function checkSignatures(
  log: VerifiedLog,
  state: KeyState,
  message: Uint8Array,
  signatures: readonly { publicKey: Uint8Array; signature: Uint8Array }[],
): void {
  const places = new Set<number>()
  for (const { publicKey, signature } of signatures) {
    const place = state.publicKeys.findIndex((key) => equalBytes(key, publicKey))
    if (place >= 0 && ed25519Verify(publicKey, message, signature)) places.add(place)
  }
  if (state.threshold.met(places)) return
  const other = signatures.find(
    ({ publicKey, signature }) =>
      log.events.some((event) => event.keys.some((key) => equalBytes(key, publicKey))) &&
      ed25519Verify(publicKey, message, signature),
  )
  if (other !== undefined && places.size === 0) {
    throw new KelError(
      'KEL_SUPERSEDED_KEY',
      `Statement names event ${state.sn} but is signed by a key that was not in force there`,
    )
  }
  throw new KelError(
    'KEL_SIGNATURE',
    `${places.size} of ${state.keys.length} keys in force at event ${state.sn} have signed, which is not enough`,
  )
}

/**
 * Verifies a signature file against a log and what was signed.
 *
 * @param envelope - The signature file.
 * @param digest - SHA-256 of what it must be about: 32 bytes, or as `statementDigest` writes it.
 * @param log - Verified log of the identity.
 * @throws {@link KelError} `KEL_STATEMENT`, `KEL_PREFIX`, `KEL_SIGNATURE`, `KEL_SUPERSEDED_KEY`, and
 *   `KEL_POSITION_UNPROVEN` unless `allowUnproven` is set.
 */
export function verifyStatement(
  envelope: Uint8Array,
  digest: Uint8Array | string,
  log: VerifiedLog,
  options: VerifyStatementOptions = {},
): VerifiedStatement {
  requireBytes(envelope, 'envelope')
  const expected = digestBytes(digest, 'digest')
  requireMembers(log, 'log', ['events', 'state'])
  const { statement, payload, signatures, proof } = parseStatementEnvelope(envelope)
  const { purpose = 'file' } = options
  if (statement.purpose !== purpose)
    throw new KelError('KEL_STATEMENT', `Statement is about a ${statement.purpose}, not a ${purpose}`)
  if (!equalBytes(hexDecode(statement.sha256), expected))
    throw new KelError('KEL_STATEMENT', 'Statement is about other content than the one given')
  if (options.name !== undefined && statement.name !== options.name)
    throw new KelError(
      'KEL_STATEMENT',
      `Statement is about ${quoted(statement.name ?? '')}, expected ${quoted(options.name)}`,
    )
  const state = checkPlace(log, statement)
  checkSignatures(log, state, dssePae(STATEMENT_TYPE, payload), signatures)
  const position = positionOf(log, statement.sn, [expected, sha256(payload)], { proof, ...options })
  if (!position.proven && options.allowUnproven !== true) throw unproven(statement, position)
  return { statement, ...position }
}

function unproven({ sn }: Statement, { retiredBy }: Pick<VerifiedStatement, 'retiredBy'>): KelError {
  return new KelError(
    'KEL_POSITION_UNPROVEN',
    `The signature is by a key that event ${retiredBy?.sn ?? sn} retired, and nothing in the log proves that it ` +
      'was made before',
    { details: { sn, retiredBy: retiredBy?.sn } },
  )
}

/** Finds the strongest proof that something signed at a place existed while the keys of that place were in force. */
function positionOf(
  log: VerifiedLog,
  sn: number,
  digests: readonly Uint8Array[],
  options: VerifyStatementOptions,
): Omit<VerifiedStatement, 'statement'> {
  const retired = retirement(log, sn)
  const retiredBy = retired === undefined ? undefined : { sn: retired.sn, said: retired.said }
  const answer = (position: PositionProof, by?: VerifiedEvent): Omit<VerifiedStatement, 'statement'> => ({
    position,
    retiredBy,
    sealedBy: by === undefined ? undefined : { sn: by.sn, said: by.said },
    proven: position !== 'claimed',
  })
  const { proof } = options
  const sealing = digests
    .flatMap((digest) => [findSeal(log, sn, digest), proof && findRoot(log, sn, digest, proof)])
    .find((event) => event !== undefined)
  if (sealing !== undefined) {
    const count = (options.witnessCount ?? ((said) => log.witnessesOf(said).size))(sealing.said)
    return answer(count > 0 ? 'witnessed' : 'sealed', sealing)
  }
  const tip = options.descendants?.map((digest) => findSeal(log, sn, digest)).find((event) => event !== undefined)
  if (tip !== undefined) return answer('ancestor', tip)
  return answer(retired === undefined ? 'current' : 'claimed')
}

/**
 * Verifies a bare signature by one key of the identity at a place, for formats of others. A statement says more.
 *
 * @throws {@link KelError} `KEL_STATEMENT` when the place is not in the log.
 */
export function verifyAt(log: VerifiedLog, message: Uint8Array, signature: Uint8Array, place: Place): boolean {
  const state = log.events[place.sn]?.said === place.said ? log.stateAt(place.sn) : undefined
  if (state === undefined) throw new KelError('KEL_STATEMENT', `Event ${place.sn} of that SAID is not in the log`)
  return state.publicKeys.some((key) => ed25519Verify(key, message, signature))
}
