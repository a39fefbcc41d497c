import type { EventType, Establishment, InceptionEvent, KeyEvent, RotationEvent } from './event.ts'
import { checkWitnessThreshold } from './event.ts'
import { refusal } from './rule.ts'
import type { Threshold } from './threshold.ts'

/** A place in a log: the sequence number and SAID of an event. */
export interface Place {
  readonly sn: number
  readonly said: string
}

/** What holds after an event: who signs, who may rotate, who witnesses. */
export interface KeyState extends Place {
  readonly prefix: string
  readonly type: EventType
  /** The inception or rotation that put these keys in force. */
  readonly lastEstablishment: Place
  /** Keys in force, qb64. */
  readonly keys: readonly string[]
  /** The same keys, 32 bytes each. */
  readonly publicKeys: readonly Uint8Array[]
  readonly threshold: Threshold
  /** Digests of the keys promised for the next rotation; empty when the identity is abandoned or cannot rotate. */
  readonly nextDigests: readonly string[]
  readonly nextThreshold: Threshold
  readonly witnesses: readonly string[]
  readonly witnessThreshold: number
  readonly traits: readonly string[]
  readonly delegator: string | undefined
}

/** True when only inceptions and rotations are allowed (trait `EO`). */
export function isEstablishmentOnly(state: KeyState): boolean {
  return state.traits.includes('EO')
}

/** True when no key was promised: nothing may follow. */
export function isAbandoned(state: KeyState): boolean {
  return state.nextDigests.length === 0
}

function establishment(event: Establishment): Establishment {
  const { keys, publicKeys, threshold, nextDigests, nextThreshold, witnessThreshold } = event
  return { keys, publicKeys, threshold, nextDigests, nextThreshold, witnessThreshold }
}

/** The state that an inception creates. */
export function inceptionState(event: InceptionEvent): KeyState {
  const { prefix, sn, said, type, witnesses, traits, delegator } = event
  return {
    ...establishment(event),
    prefix,
    sn,
    said,
    type,
    witnesses,
    traits,
    delegator,
    lastEstablishment: { sn, said },
  }
}

/**
 * The witness list after a rotation: the old list without the cuts, in its order, then the adds.
 *
 * @throws {@link KelError} `KEL_WITNESS`.
 */
export function nextWitnesses(state: KeyState, event: RotationEvent): readonly string[] {
  for (const cut of event.cuts) {
    if (!state.witnesses.includes(cut)) throw refusal('KEL_WITNESS', `Rotation cuts ${cut}, which is not a witness`)
  }
  for (const add of event.adds) {
    if (state.witnesses.includes(add)) throw refusal('KEL_WITNESS', `Rotation adds ${add}, which is a witness already`)
  }
  const witnesses = [...state.witnesses.filter((witness) => !event.cuts.includes(witness)), ...event.adds]
  checkWitnessThreshold(event.witnessThreshold, witnesses.length)
  return witnesses
}

/**
 * The state after an event that follows `state`.
 *
 * @throws {@link KelError} `KEL_WITNESS`.
 */
export function nextState(state: KeyState, event: Exclude<KeyEvent, InceptionEvent>): KeyState {
  const { sn, said, type } = event
  if (event.type === 'ixn') return { ...state, sn, said, type }
  const witnesses = nextWitnesses(state, event)
  return { ...state, ...establishment(event), sn, said, type, witnesses, lastEstablishment: { sn, said } }
}
