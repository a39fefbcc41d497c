import { matchesDigest } from './digest.ts'
import { isInception } from './event.ts'
import type { KeyEvent } from './event.ts'
import type { KeyState } from './key-state.ts'
import type { VerifiedSignatures } from './signatures.ts'
import { describeThreshold } from './threshold.ts'

const numbers = [
  'no',
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
]

/** Small numbers in words. */
function inWords(count: number): string {
  return numbers[count] ?? String(count)
}

function plural(count: number, noun: string): string {
  return `${count === 0 ? 'no' : count} ${noun}${count === 1 ? '' : 's'}`
}

/** Places counted from 1, for people: `key 2`, `keys 1 and 3`. */
function keyList(places: readonly number[]): string {
  const shown = [...places].sort((a, b) => a - b).map((place) => String(place + 1))
  if (shown.length === 1) return `key ${shown[0] ?? ''}`
  return `keys ${shown.slice(0, -1).join(', ')} and ${shown.at(-1) ?? ''}`
}

/** `2 of 3 needed`, `all 3 needed`, `weights ["1/2","1/2"] needed`. */
function need(threshold: KeyState['threshold'], count: number): string {
  return threshold.places === undefined
    ? `${threshold.fewest} of ${count} needed`
    : `${describeThreshold(threshold)} needed`
}

function witnessed(state: KeyState, count: number): string {
  if (state.witnesses.length === 0) return ''
  return (
    `; ${count} of ` +
    `${plural(state.witnesses.length, 'witness').replace(/witnesss$/, 'witnesses')} signed, ` +
    `${state.witnessThreshold} needed`
  )
}

function promise(state: KeyState): string {
  const count = state.nextDigests.length
  return count === 0 ? '; promises no next key, so nothing may follow' : `; promises ${plural(count, 'next key')}`
}

function sealed(event: KeyEvent): string {
  return event.seals.length === 0 ? '' : `; seals ${plural(event.seals.length, 'anchor')}`
}

function explainRotation(base: KeyState, next: KeyState, event: KeyEvent, signatures: VerifiedSignatures): string {
  const ondices = signatures.valid.flatMap(({ index, ondex }) => {
    const digest = ondex === undefined ? undefined : base.nextDigests[ondex]
    return digest !== undefined && matchesDigest(digest, next.keys[index] ?? '') ? [ondex as number] : []
  })
  const from = `the ${inWords(base.nextDigests.length)} promised in event ${base.lastEstablishment.sn}`
  const revealed =
    base.nextDigests.length === 1
      ? `the key promised in event ${base.lastEstablishment.sn}`
      : `${keyList(ondices)} of ${from}`
  return (
    `rotation ${event.sn} reveals ${revealed}; ${need(base.nextThreshold, base.nextDigests.length)}; satisfied; ` +
    `signed by ${keyList([...signatures.places])} of ${next.keys.length}`
  )
}

/** An event that was accepted, with what decided about it. */
interface AcceptedEvent {
  /** State before the event; undefined for an inception. */
  readonly base: KeyState | undefined
  readonly next: KeyState
  readonly event: KeyEvent
  readonly signatures: VerifiedSignatures
  readonly witnessCount: number
}

/** Says in one sentence why an event was accepted. */
export function explainAcceptance({ base, next, event, signatures, witnessCount }: AcceptedEvent): string {
  const tail = sealed(event) + witnessed(next, witnessCount)
  if (event.type === 'ixn') {
    return (
      `interaction ${event.sn} signed by ${keyList([...signatures.places])} of ` +
      `${next.keys.length}; ${need(next.threshold, next.keys.length)}${tail}`
    )
  }
  if (base === undefined || isInception(event)) {
    return (
      `inception names ${plural(next.keys.length, 'key')}, signed by ${keyList([...signatures.places])}; ` +
      `${need(next.threshold, next.keys.length)}${promise(next)}${tail}`
    )
  }
  return explainRotation(base, next, event, signatures) + promise(next) + tail
}
