import { concatBytes, equalBytes, utf8Encode } from '@keyturn/primitives'
import { formatAttachments } from './cesr/attachments.ts'
import type { SealSource } from './cesr/attachments.ts'
import type { IndexedSignature } from './cesr/indexed-signature.ts'
import type { KeyEvent } from './event.ts'
import { parseKeyText } from './keys.ts'
import { MAX_ESCROW_AGE_MS, MAX_ESCROW_BYTES, MAX_ESCROW_EVENTS, MAX_KEYS, MAX_SIGNATURES_PER_KEY } from './limits.ts'
import type { Message } from './message.ts'
import { refusal } from './rule.ts'
import { rememberVerified } from './signatures.ts'
import type { EscrowKind, Escrowed } from './verify-event.ts'

/** Bounds of an escrow. */
export interface EscrowLimits {
  /** Most events that wait for an event before them. Default 1,000. */
  readonly maxEvents?: number | undefined
  /** Most bytes of those events. Default 4 MiB. A quarter more is kept free for events that only lack signatures. */
  readonly maxBytes?: number | undefined
  /** How long an event waits before it is dropped, milliseconds. Default one hour. */
  readonly maxAgeMs?: number | undefined
}

/** An event that waits, and for what. */
export interface WaitingEvent {
  readonly kind: EscrowKind
  /** The event with those of its signatures that verify; the others are not kept. */
  readonly message: Message<KeyEvent>
  /** When it came, milliseconds since the epoch. */
  readonly sinceMs: number
}

/** A waiting event with what its receipts are verified against. */
export interface HeldEvent extends WaitingEvent {
  readonly explanation: string
  /** Witness list after the event; undefined while the event before it is not known. */
  readonly witnesses: readonly string[] | undefined
  readonly byteCount: number
}

/** Bytes that one kept signature is counted with: its text and the objects around it. */
const SIGNATURE_BYTES = 256
const MAX_SEAL_SOURCES = 4

/** The body of a message with the attachments that its parsed form holds. */
export function composeMessage(message: Message<KeyEvent>): Uint8Array {
  return concatBytes(message.event.raw, utf8Encode(formatAttachments(message.attachments)))
}

/** Signatures of two copies of one event, each (index, ondex) spelling once. */
function union(
  first: readonly IndexedSignature[],
  second: readonly IndexedSignature[],
  isVerified: boolean,
): IndexedSignature[] {
  const kept: IndexedSignature[] = []
  const ofKey = new Map<number, IndexedSignature[]>()
  for (const signature of [...first, ...second]) {
    const { index, ondex } = signature
    const same = ofKey.get(index) ?? []
    const isKnown = same.some((other) => other.ondex === ondex && equalBytes(other.signature, signature.signature))
    // What verified is one signature per key, however it is spelled; of what cannot be verified yet little is kept.
    const isTooMany = !isVerified && (index >= MAX_KEYS || same.length >= MAX_SIGNATURES_PER_KEY)
    if (isKnown || isTooMany) continue
    kept.push(signature)
    same.push(signature)
    ofKey.set(index, same)
  }
  return kept
}

function unionOfSources(first: readonly SealSource[], second: readonly SealSource[]): SealSource[] {
  const byText = new Map([...first, ...second].map((source) => [`${source.sn}/${source.said}`, source]))
  return [...byText.values()].slice(0, MAX_SEAL_SOURCES)
}

/** A message as it is kept: a copy of its body, and of its signatures only those that verify, each once. */
export function heldMessage(
  message: Message<KeyEvent>,
  { verified }: Escrowed,
  before?: Message<KeyEvent>,
): Message<KeyEvent> {
  const { attachments } = message
  // What waits outlives the buffer it came in.
  const raw = before?.event.raw ?? new Uint8Array(message.event.raw)
  const signatures = union(
    before?.attachments.signatures ?? [],
    verified?.signatures ?? attachments.signatures,
    verified !== undefined,
  )
  const received = [...(verified?.witnessSignatures ?? [])].map(([index, signature]) => asWitness(index, signature))
  const witnessSignatures = union(
    before?.attachments.witnessSignatures ?? [],
    verified?.witnesses === undefined ? attachments.witnessSignatures : received,
    verified?.witnesses !== undefined,
  )
  // Only what was verified just now: an earlier copy may have come before its keys were known.
  if (verified !== undefined) rememberVerified(verified.signatures, verified.publicKeys, raw)
  if (verified?.witnesses !== undefined) rememberVerified(received, verified.witnesses.map(parseKeyText), raw)
  const kept: Message<KeyEvent> = {
    event: { ...message.event, raw },
    attachments: {
      signatures,
      witnessSignatures,
      couples: [],
      transferable: [],
      sealSources: unionOfSources(before?.attachments.sealSources ?? [], attachments.sealSources),
    },
    bytes: raw,
  }
  return { ...kept, bytes: composeMessage(kept) }
}

/** A verified witness signature by its place, spelled as an indexed one. */
export function asWitness(index: number, signature: Uint8Array): IndexedSignature {
  return { code: index > 63 ? '2A' : 'A', index, ondex: index, signature }
}

/**
 * Valid events that wait for something that is missing. Bounded in number, bytes and time: what does not fit is
 * refused, and nothing is pushed out by somebody else's events. Events that only lack signatures have room of their
 * own, so that a flood of events out of order, which anybody can make, does not keep them out.
 */
export class Escrow {
  readonly #held = new Map<string, HeldEvent>()
  readonly #byPlace = new Map<string, Set<string>>()
  readonly #maxEvents: number
  readonly #maxBytes: number
  readonly #maxAgeMs: number
  readonly #loose = { eventCount: 0, byteCount: 0 }
  readonly #all = { eventCount: 0, byteCount: 0 }
  #lastSweepMs = Number.NEGATIVE_INFINITY
  #nextSweepMs = Number.NEGATIVE_INFINITY

  constructor({ maxEvents, maxBytes, maxAgeMs }: EscrowLimits = {}) {
    this.#maxEvents = maxEvents ?? MAX_ESCROW_EVENTS
    this.#maxBytes = maxBytes ?? MAX_ESCROW_BYTES
    this.#maxAgeMs = maxAgeMs ?? MAX_ESCROW_AGE_MS
  }

  /** What waits, oldest first. */
  get waiting(): readonly HeldEvent[] {
    return [...this.#held.values()]
  }

  /** The waiting copy of an event. */
  get(said: string): HeldEvent | undefined {
    return this.#held.get(said)
  }

  /** SAIDs of the events that wait at one place of a log. */
  at(prefix: string, sn: number): readonly string[] {
    return [...(this.#byPlace.get(`${prefix}/${sn}`) ?? [])]
  }

  /**
   * Lets an event wait, in place of an earlier copy of it.
   *
   * @throws {@link KelError} `KEL_ESCROW_FULL`.
   */
  hold(message: Message<KeyEvent>, escrowed: Escrowed, nowMs: number): HeldEvent {
    const { said } = message.event
    const before = this.#held.get(said)
    const { signatures, witnessSignatures, sealSources } = message.attachments
    const partCount = signatures.length + witnessSignatures.length + sealSources.length
    const held: HeldEvent = {
      kind: escrowed.kind,
      explanation: escrowed.explanation,
      message,
      sinceMs: before?.sinceMs ?? nowMs,
      witnesses: escrowed.verified?.witnesses,
      byteCount: message.event.raw.length + partCount * SIGNATURE_BYTES,
    }
    if (before !== undefined) this.#count(before, -1)
    try {
      this.#checkRoom(held)
    } catch (error) {
      if (before !== undefined) this.#count(before, 1)
      throw error
    }
    this.#count(held, 1)
    // A new copy keeps the place in the queue of the first one.
    this.#held.set(said, held)
    const { prefix, sn } = message.event
    const place = `${prefix}/${sn}`
    this.#byPlace.set(place, (this.#byPlace.get(place) ?? new Set<string>()).add(said))
    return held
  }

  #checkRoom(held: HeldEvent): void {
    const isLoose = held.kind === 'out-of-order'
    const used = isLoose ? this.#loose : this.#all
    const share = isLoose ? 1 : 1.25
    const [eventCount, byteCount] = [used.eventCount + 1, used.byteCount + held.byteCount]
    if (eventCount <= this.#maxEvents * share && byteCount <= this.#maxBytes * share) return
    throw refusal(
      'KEL_ESCROW_FULL',
      `${eventCount} events of ${byteCount} bytes wait, limits ${this.#maxEvents * share} and ` +
        `${this.#maxBytes * share}`,
    )
  }

  #count({ kind, byteCount }: HeldEvent, sign: 1 | -1): void {
    for (const used of kind === 'out-of-order' ? [this.#loose, this.#all] : [this.#all]) {
      used.eventCount += sign
      used.byteCount += sign * byteCount
    }
  }

  /** Ends the wait of an event. */
  drop(said: string): void {
    const held = this.#held.get(said)
    if (held === undefined) return
    const { prefix, sn } = held.message.event
    const place = `${prefix}/${sn}`
    const saids = this.#byPlace.get(place)
    saids?.delete(said)
    if (saids?.size === 0) this.#byPlace.delete(place)
    this.#held.delete(said)
    this.#count(held, -1)
  }

  /** Drops what has waited too long; returns the SAIDs. */
  expire(nowMs: number): readonly string[] {
    const expired: string[] = []
    // Looked at sixty times in the life of an event, not with every message.
    if (nowMs < this.#nextSweepMs && nowMs >= this.#lastSweepMs) return expired
    this.#lastSweepMs = nowMs
    this.#nextSweepMs = nowMs + this.#maxAgeMs / 60
    for (const [said, { sinceMs }] of this.#held) {
      // A clock that jumped back makes nothing older.
      if (nowMs - sinceMs > this.#maxAgeMs) expired.push(said)
    }
    for (const said of expired) this.drop(said)
    return expired
  }
}
