import type { JsonValue } from '@keyturn/primitives'
import type { SealSource } from './cesr/attachments.ts'
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

/** What the judge needs to know about the log of a delegator. */
export interface DelegatorLog {
  readonly state: KeyState
  /** The accepted event at a place, undefined when the log does not reach that far. */
  eventAt(sn: number): { readonly said: string; readonly seals: readonly JsonValue[] } | undefined
}

/** What surrounds the judgement of one event. */
export interface JudgeContext {
  /** Finds the log of a delegator by its prefix. */
  delegator(prefix: string): DelegatorLog | undefined
  /** Prefix of the witness that judges: an event that names it does not wait for the others. */
  readonly witness?: string | undefined
}

/** The event stands, with the state it leads to. */
export interface Acceptance {
  readonly verdict: 'accept'
  readonly state: KeyState
  readonly signatures: VerifiedSignatures
  readonly witnesses: ReadonlyMap<number, Uint8Array>
  /** A sentence for people; made on demand, since most readers of a log never ask. */
  explain(): string
}

/** The event is sound so far, but something is missing that may still come. */
export interface Escrowed {
  readonly verdict: 'escrow'
  readonly kind: EscrowKind
  readonly explanation: string
}

/** Decides where an event may stand, before any signature is looked at. */
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
function judgeSignatures(
  base: KeyState | undefined,
  next: KeyState,
  message: Message<KeyEvent>,
): VerifiedSignatures | Escrowed {
  const { event } = message
  const signatures = verifyIndexed(message.attachments.signatures, next.publicKeys, event.raw)
  if (!next.threshold.met(signatures.places)) {
    const have = signatures.places.size
    return waiting(
      'partial-signature',
      `Event ${event.sn} is signed by ${have} of ${next.keys.length} keys; ${describeThreshold(next.threshold)} needed`,
    )
  }
  if (base === undefined || !isRotation(event)) return signatures
  const exposure = exposedPlaces(base, event, signatures)
  if (base.nextThreshold.met(exposure.places)) return signatures
  const revealed = `reveals ${exposure.places.size} of the ${base.nextDigests.length} keys promised in event ${base.lastEstablishment.sn}`
  const needed = describeThreshold(base.nextThreshold)
  if (base.nextThreshold.met(exposure.reachable)) {
    return waiting('partial-signature', `Rotation ${event.sn} ${revealed} so far; ${needed} needed`)
  }
  throw refusal('KEL_NEXT_COMMITMENT', `Rotation ${event.sn} ${revealed}; ${needed} needed`, {
    revealed: exposure.places.size,
    promised: base.nextDigests.length,
  })
}

function isSealOf(seal: JsonValue, event: KeyEvent): boolean {
  if (typeof seal !== 'object' || seal === null || Array.isArray(seal)) return false
  const { i, s, d } = seal as Record<string, JsonValue>
  return i === event.prefix && s === event.sn.toString(16) && d === event.said
}

function findSeal(log: DelegatorLog, event: KeyEvent): boolean {
  for (let sn = log.state.sn; sn >= 0; sn--) {
    if (log.eventAt(sn)?.seals.some((seal) => isSealOf(seal, event)) === true) return true
  }
  return false
}

/** A delegated establishment stands only when the delegator's accepted log seals it. */
function judgeDelegation(
  delegator: string,
  event: KeyEvent,
  sources: readonly SealSource[],
  context: JudgeContext,
): Escrowed | undefined {
  const log = context.delegator(delegator)
  if (log === undefined) return waiting('partial-delegation', `The log of delegator ${delegator} is not known`)
  if (log.state.traits.includes('DND'))
    throw refusal('KEL_DELEGATION', `Identity ${delegator} does not delegate (trait DND)`)
  for (const source of sources) {
    const sealing = log.eventAt(source.sn)
    if (sealing === undefined) continue
    if (sealing.said !== source.said || !sealing.seals.some((seal) => isSealOf(seal, event))) {
      throw refusal('KEL_DELEGATION', `Event ${source.sn} of delegator ${delegator} does not seal event ${event.sn}`)
    }
    return undefined
  }
  if (findSeal(log, event)) return undefined
  return waiting('partial-delegation', `Delegator ${delegator} has not sealed event ${event.sn} yet`)
}

/**
 * Judges one event at the place behind `base`: place, lists, signatures, commitment, witnesses, delegation, in that
 * order (docs/spec/kel.md §4). Pure: nothing is stored.
 *
 * @param base - State before the event; undefined for an inception.
 * @throws {@link KelError} with its rule when the event is refused.
 */
export function judgeEvent(
  base: KeyState | undefined,
  message: Message<KeyEvent>,
  context: JudgeContext,
): Acceptance | Escrowed {
  const { event, attachments } = message
  let next: KeyState
  if (isInception(event)) {
    next = inceptionState(event)
  } else {
    if (base === undefined)
      return waiting('out-of-order', `Event ${event.sn} came before the inception of its identity`)
    checkPlace(base, event)
    next = nextState(base, event)
  }
  const signatures = judgeSignatures(base, next, message)
  if ('verdict' in signatures) return signatures
  const indexed = [...attachments.witnessSignatures, ...(message.receipts?.indexed ?? [])]
  // Couples count when they came in a receipt of their own; riding on the event itself they do not, as in keripy.
  const witnesses = verifyWitnesses(next.witnesses, event.raw, indexed, message.receipts?.couples)
  const isOurs = context.witness !== undefined && next.witnesses.includes(context.witness)
  if (witnesses.size < next.witnessThreshold && !isOurs) {
    return waiting(
      'partial-witness',
      `Event ${event.sn} has ${witnesses.size} of ${next.witnessThreshold} witness signatures needed`,
    )
  }
  if (next.delegator !== undefined && event.type !== 'ixn') {
    const held = judgeDelegation(next.delegator, event, attachments.sealSources, context)
    if (held !== undefined) return held
  }
  const explain = (): string => explainAcceptance(base, next, event, signatures, witnesses.size)
  return { verdict: 'accept', state: next, signatures, witnesses, explain }
}
