import { concatBytes, utf8Encode } from '@keyturn/primitives'
import { formatAttachments } from './cesr/attachments.ts'
import type { KeyEvent } from './event.ts'
import type { EscrowKind } from './judge.ts'
import { MAX_ESCROW_BYTES, MAX_ESCROW_EVENTS } from './limits.ts'
import type { Message } from './message.ts'
import { refusal } from './rule.ts'

/** Bounds of an escrow. */
export interface EscrowLimits {
  /** Most events that wait. Default 1,000. */
  readonly maxEvents?: number
  /** Most bytes that wait. Default 4 MiB. */
  readonly maxBytes?: number
}

/** An event that waits, and for what. */
export interface WaitingEvent {
  readonly kind: EscrowKind
  readonly message: Message<KeyEvent>
}

/** The body of a message with the attachments that its parsed form holds. */
export function composeMessage(message: Message<KeyEvent>): Uint8Array {
  return concatBytes(message.event.raw, utf8Encode(formatAttachments(message.attachments)))
}

/** The same event with the signatures of both copies. */
export function mergeSignatures(first: Message<KeyEvent>, second: Message<KeyEvent>): Message<KeyEvent> {
  const attachments = {
    ...first.attachments,
    signatures: [...first.attachments.signatures, ...second.attachments.signatures],
    witnessSignatures: [...first.attachments.witnessSignatures, ...second.attachments.witnessSignatures],
    sealSources: [...first.attachments.sealSources, ...second.attachments.sealSources],
  }
  const merged = { ...first, attachments }
  return { ...merged, bytes: composeMessage(merged) }
}

/** Sound events that wait for something that is missing. Bounded: what does not fit is refused, nothing is pushed out. */
export class Escrow {
  readonly #waiting = new Map<string, WaitingEvent>()
  readonly #maxEvents: number
  readonly #maxBytes: number
  #byteCount = 0

  constructor({ maxEvents = MAX_ESCROW_EVENTS, maxBytes = MAX_ESCROW_BYTES }: EscrowLimits = {}) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
  }

  /** What waits, oldest first. */
  get waiting(): readonly WaitingEvent[] {
    return [...this.#waiting.values()]
  }

  /** The waiting copy of an event. */
  get(said: string): WaitingEvent | undefined {
    return this.#waiting.get(said)
  }

  /**
   * Lets an event wait, in place of an earlier copy of it.
   *
   * @throws {@link KelError} `KEL_ESCROW_FULL`.
   */
  hold(kind: EscrowKind, message: Message<KeyEvent>): void {
    const { said } = message.event
    const before = this.#waiting.get(said)?.message.bytes.length ?? 0
    const byteCount = this.#byteCount - before + message.bytes.length
    const eventCount = this.#waiting.size + (before === 0 ? 1 : 0)
    if (eventCount > this.#maxEvents || byteCount > this.#maxBytes) {
      throw refusal(
        'KEL_ESCROW_FULL',
        `${eventCount} events of ${byteCount} bytes wait, limits ${this.#maxEvents} and ${this.#maxBytes}`,
      )
    }
    this.#waiting.set(said, { kind, message })
    this.#byteCount = byteCount
  }

  /** Ends the wait of an event. */
  drop(said: string): void {
    this.#byteCount -= this.#waiting.get(said)?.message.bytes.length ?? 0
    this.#waiting.delete(said)
  }
}
