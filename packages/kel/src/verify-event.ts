import type { JsonValue } from '@keyturn/primitives'
import type { SealSource } from './cesr/attachments.ts'
import type { IndexedSignature } from './cesr/indexed-signature.ts'
import { isInception, isRotation } from './event.ts'
import type { InceptionEvent, KeyEvent } from './event.ts'
import { explainAcceptance } from './explain.ts'
import { inceptionState, isAbandoned, isEstablishmentOnly, nextState } from './key-state.ts'
import type { KeyState } from './key-state.ts'
import type { Message } from './message.ts'
import { refusal } from './rule.ts'
import { exposedPlaces, verifyIndexed, verifyWitnesses } from './signatures.ts'
import type { VerifiedSignatures } from './signatures.ts'
import { describeThreshold } from './threshold.ts'

/** Why a sound event has to wait. */
export type EscrowKind =
  | 'out-of-order'
  | 'partial-signature'
  | 'partial-witness'
  | 'partial-delegation'
  | 'unverified-receipt'

/** What has to be known about the log of a delegator. */
export interface DelegatorLog {
  readonly state: KeyState
  /** The accepted event at a place, undefined when the log does not reach that far. */
  eventAt(sn: number): { readonly said: string; readonly seals: readonly JsonValue[] } | undefined
  /** Whether an accepted event seals this one. Default: every event is searched. */
  sealsEvent?(event: KeyEvent): boolean
}

/** What surrounds the verification of one event. */
export interface VerifyContext {
  /** Finds the log of a delegator by its prefix. */
  delegator(prefix: string): DelegatorLog | undefined
  /** Prefix of the witness that verifies: an event that names it does not wait for the others. */
  readonly witness?: string | undefined
}

/** The event is valid at its place, with the state it leads to. */
export interface Acceptance {
  readonly verdict: 'accept'
  readonly state: KeyState
  readonly signatures: VerifiedSignatures
  readonly witnesses: ReadonlyMap<number, Uint8Array>
  /** A sentence for people; made on demand, since most readers of a log never ask. */
  explain(): string
}

/** What of a message that has to wait was verified, and so may be kept. */
export interface VerifiedParts {
  /** Signatures by the event's own keys, one per key and spelling. */
  readonly signatures: readonly IndexedSignature[]
  readonly publicKeys: readonly Uint8Array[]
  /** Witness list after the event; undefined while the event before it is not known. */
  readonly witnesses: readonly string[] | undefined
  /** Witness signatures by place in that list. */
  readonly witnessSignatures: ReadonlyMap<number, Uint8Array>
}

/** The event is valid so far, but something is missing that may still come. */
export interface Escrowed {
  readonly verdict: 'escrow'
  readonly kind: EscrowKind
  readonly explanation: string
  /** The identity whose seal is missing, of kind `partial-delegation`. */
  readonly delegator?: string | undefined
  /** Undefined when nothing can be verified yet: an interaction whose keys are not known. */
  readonly verified?: VerifiedParts | undefined
}

/** Checks the place of an event, before any signature is looked at. */
function checkPlace(base: KeyState, event: Exclude<KeyEvent, InceptionEvent>): void {
  if (isAbandoned(base)) {
    throw refusal('KEL_ABANDONED', `Event ${event.sn} follows event ${base.sn}, which promised no next key`)
  }
  if (event.type === 'ixn' && isEstablishmentOnly(base)) {
    throw refusal('KEL_TRAIT', `Interaction ${event.sn} on an identity that allows inceptions and rotations only (EO)`)
  }
  const delegated = base.delegator !== undefined
  if (event.type === 'rot' && delegated)
    throw refusal('KEL_DELEGATION', `Plain rotation ${event.sn} of a delegated identity`)
  if (event.type === 'drt' && !delegated)
    throw refusal('KEL_DELEGATION', `Delegated rotation ${event.sn} of an identity without a delegator`)
  if (event.prior !== base.said) {
    throw refusal('KEL_PREV', `Event ${event.sn} names ${event.prior} as the event before, which is ${base.said}`)
  }
}

function waiting(kind: EscrowKind, explanation: string): Escrowed {
  return { verdict: 'escrow', kind, explanation }
}

/** Controller signatures against the threshold in force, and for rotations against the promise of the event before. */
function verifySignatures(
  base: KeyState | undefined,
  next: KeyState,
  event: KeyEvent,
  signatures: VerifiedSignatures,
): VerifiedSignatures | Escrowed {
  if (!next.threshold.met(signatures.places)) {
    const have = signatures.places.size
    return waiting(
      'partial-signature',
      `Event ${event.sn} is signed by ${have} of ${next.keys.length} keys; ${describeThreshold(next.threshold)} needed`,
    )
  }
  if (base === undefined || !isRotation(event)) return signatures
  const exposure = exposedPlaces(base, event, signatures)
  if (base.nextThreshold.met(exposure.places)) return { ...signatures, valid: exposure.valid }
  const revealed =
    `reveals ${exposure.places.size} of the ${base.nextDigests.length} keys promised ` +
    `in event ${base.lastEstablishment.sn}`
  const needed = describeThreshold(base.nextThreshold)
  if (base.nextThreshold.met(exposure.reachable)) {
    return waiting('partial-signature', `Rotation ${event.sn} ${revealed} so far; ${needed} needed`)
  }
  throw refusal('KEL_NEXT_COMMITMENT', `Rotation ${event.sn} ${revealed}; ${needed} needed`, {
    revealed: exposure.places.size,
    promised: base.nextDigests.length,
  })
}

/** SAIDs that seals name: those of events of other logs, and digests of anything else. */
export function sealedSaids(seals: readonly JsonValue[]): readonly string[] {
  return seals.flatMap((seal) => {
    if (typeof seal !== 'object' || seal === null || Array.isArray(seal)) return []
    const { i, d } = seal as Record<string, JsonValue>
    return typeof i === 'string' && typeof d === 'string' ? [d] : []
  })
}

/** Whether a seal names an event of another log. */
export function isSealOf(seal: JsonValue, event: KeyEvent): boolean {
  if (typeof seal !== 'object' || seal === null || Array.isArray(seal)) return false
  const { i, s, d } = seal as Record<string, JsonValue>
  return i === event.prefix && s === event.sn.toString(16) && d === event.said
}

function findSeal(log: DelegatorLog, event: KeyEvent): boolean {
  if (log.sealsEvent !== undefined) return log.sealsEvent(event)
  for (let sn = log.state.sn; sn >= 0; sn--) {
    if (log.eventAt(sn)?.seals.some((seal) => isSealOf(seal, event)) === true) return true
  }
  return false
}

/** A delegated establishment is valid only when the delegator's accepted log seals it. */
function verifyDelegation(
  delegator: string,
  event: KeyEvent,
  sources: readonly SealSource[],
  context: VerifyContext,
): Escrowed | undefined {
  const log = context.delegator(delegator)
  if (log === undefined)
    return { ...waiting('partial-delegation', `The log of delegator ${delegator} is not known`), delegator }
  if (log.state.traits.includes('DND'))
    throw refusal('KEL_DELEGATION', `Identity ${delegator} does not delegate (trait DND)`)
  for (const source of sources) {
    const sealing = log.eventAt(source.sn)
    if (sealing === undefined) continue
    if (sealing.said === source.said && sealing.seals.some((seal) => isSealOf(seal, event))) return undefined
    throw refusal('KEL_DELEGATION', `Event ${source.sn} of delegator ${delegator} does not seal event ${event.sn}`)
  }
  if (findSeal(log, event)) return undefined
  return { ...waiting('partial-delegation', `Delegator ${delegator} has not sealed event ${event.sn} yet`), delegator }
}

/**
 * Verifies one event at the place after `base`: place, lists, signatures, commitment, witnesses, delegation, in that
 * order (docs/spec/kel.md §5.1). Pure: nothing is stored.
 *
 * @param base - State before the event; undefined for an inception.
 * @throws {@link KelError} with its rule when the event is refused.
 */
export function verifyEvent(
  base: KeyState | undefined,
  message: Message<KeyEvent>,
  context: VerifyContext,
): Acceptance | Escrowed {
  const { event, attachments } = message
  let next: KeyState
  if (isInception(event)) {
    next = inceptionState(event)
  } else {
    if (base === undefined) throw refusal('KEL_SEQ', `Event ${event.sn} has no event before it`)
    checkPlace(base, event)
    next = nextState(base, event)
  }
  const found = verifyIndexed(attachments.signatures, next.publicKeys, event.raw)
  const indexed = [...attachments.witnessSignatures, ...(message.receipts?.indexed ?? [])]
  // Couples count when they came in a receipt of their own; riding on the event itself they do not, as in keripy.
  const witnesses = verifyWitnesses(next.witnesses, event.raw, indexed, message.receipts?.couples)
  const held = (escrowed: Escrowed): Escrowed => ({
    ...escrowed,
    verified: {
      signatures: base !== undefined && isRotation(event) ? exposedPlaces(base, event, found).valid : found.valid,
      publicKeys: next.publicKeys,
      witnesses: next.witnesses,
      witnessSignatures: witnesses,
    },
  })
  const signatures = verifySignatures(base, next, event, found)
  if ('verdict' in signatures) return held(signatures)
  const isOurs = context.witness !== undefined && next.witnesses.includes(context.witness)
  if (witnesses.size < next.witnessThreshold && !isOurs) {
    const explanation = `Event ${event.sn} has ${witnesses.size} of ${next.witnessThreshold} witness signatures needed`
    return held(waiting('partial-witness', explanation))
  }
  if (next.delegator !== undefined && event.type !== 'ixn') {
    const delegated = verifyDelegation(next.delegator, event, attachments.sealSources, context)
    if (delegated !== undefined) return held(delegated)
  }
  const explain = (): string => explainAcceptance({ base, next, event, signatures, witnessCount: witnesses.size })
  return { verdict: 'accept', state: next, signatures, witnesses, explain }
}
