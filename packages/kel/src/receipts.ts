import type { ReceiptCouple } from './cesr/attachments.ts'
import type { IndexedSignature } from './cesr/indexed-signature.ts'
import { isReceipt, parseMessage } from './message.ts'
import type { Message } from './message.ts'
import { readFrames } from './stream.ts'
import type { Frame } from './stream.ts'

/** Witness signatures on one event that came in receipts. */
export interface Receipts {
  readonly indexed: readonly IndexedSignature[]
  readonly couples: readonly ReceiptCouple[]
}

const TYPE_OFFSET = 30
const receiptType = [0x72, 0x63, 0x74]

/** True for a body that says `"t":"rct"` at its fixed place; decides nothing but whether to look closer. */
function looksLikeReceipt(frame: Frame): boolean {
  return receiptType.every((byte, i) => frame.body[TYPE_OFFSET + i] === byte)
}

/**
 * Receipts by the SAID of the event they speak about. A receipt may come before or behind its event; it counts once its
 * signature verifies against the event's own witness list.
 */
export class ReceiptPool {
  readonly #held = new Map<string, { indexed: IndexedSignature[]; couples: ReceiptCouple[] }>()

  /** Collects the receipts of a whole stream. */
  static of(stream: Uint8Array): ReceiptPool {
    const pool = new ReceiptPool()
    for (const frame of readFrames(stream)) {
      if (!looksLikeReceipt(frame)) continue
      const message = parseMessage(frame)
      if (isReceipt(message)) pool.add(message)
    }
    return pool
  }

  /** Keeps the witness signatures of one receipt. */
  add({ event, attachments }: Message): void {
    const held = this.#held.get(event.said) ?? { indexed: [], couples: [] }
    held.indexed.push(...attachments.witnessSignatures)
    held.couples.push(...attachments.couples)
    this.#held.set(event.said, held)
  }

  /** Number of events that receipts are kept for. */
  get size(): number {
    return this.#held.size
  }

  /** Forgets the receipts for an event. */
  drop(said: string): void {
    this.#held.delete(said)
  }

  /** A message together with the receipts that are here for it. */
  merge<M extends Message>(message: M): M {
    const receipts = this.#held.get(message.event.said)
    return receipts === undefined ? message : { ...message, receipts }
  }
}
