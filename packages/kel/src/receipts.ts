import { equalBytes } from '@keyturn/primitives'
import type { ReceiptCouple } from './cesr/attachments.ts'
import type { IndexedSignature } from './cesr/indexed-signature.ts'
import { MAX_EARLY_RECEIPT_BYTES, MAX_EARLY_RECEIPTS, MAX_KEYS, MAX_SIGNATURES_PER_KEY } from './limits.ts'
import type { Message } from './message.ts'

/** Bytes that one kept signature is counted with: its text and the objects around it. */
const SIGNATURE_BYTES = 256
const MAX_PER_EVENT = MAX_SIGNATURES_PER_KEY * MAX_KEYS

interface Kept {
  readonly indexed: IndexedSignature[]
  readonly couples: ReceiptCouple[]
}

/**
 * Receipts by the SAID of the event they speak about, for events that are not known yet or whose witness list is not:
 * so nothing of them can be verified, and anybody can make them. Bounded by dropping the oldest: a flood pushes out
 * what came before it, but never keeps a later receipt out. Receipts for events that wait are not pushed out.
 */
export class ReceiptPool {
  readonly #kept = new Map<string, Kept>()
  readonly #isWaiting: (said: string) => boolean
  #signatureCount = 0

  /** @param isWaiting - Whether an event is in escrow. */
  constructor(isWaiting: (said: string) => boolean) {
    this.#isWaiting = isWaiting
  }

  /** Keeps the witness signatures of one receipt: the two newest of each witness. */
  add({ event, attachments }: Message): void {
    const { said } = event
    const kept = this.#kept.get(said) ?? { indexed: [], couples: [] }
    // The newest one is the last to be dropped.
    this.#kept.delete(said)
    this.#kept.set(said, kept)
    for (const signature of attachments.witnessSignatures)
      this.#signatureCount += addTo(kept.indexed, signature, (other) => other.index === signature.index)
    for (const couple of attachments.couples)
      this.#signatureCount += addTo(kept.couples, couple, (other) => other.prefix === couple.prefix)
    this.#trim()
  }

  #trim(): void {
    const isFull = (): boolean =>
      this.#kept.size > MAX_EARLY_RECEIPTS || this.#signatureCount * SIGNATURE_BYTES > MAX_EARLY_RECEIPT_BYTES
    if (!isFull()) return
    for (const said of this.#kept.keys()) {
      if (!this.#isWaiting(said)) this.drop(said)
      if (!isFull()) return
    }
    // Nothing is left but receipts for events that wait, and those are bounded by the escrow.
  }

  /** Forgets the receipts for an event. */
  drop(said: string): void {
    const kept = this.#kept.get(said)
    if (kept === undefined) return
    this.#signatureCount -= kept.indexed.length + kept.couples.length
    this.#kept.delete(said)
  }

  /** A message together with the receipts that are here for it. */
  merge<M extends Message>(message: M): M {
    const receipts = this.#kept.get(message.event.said)
    return receipts === undefined ? message : { ...message, receipts }
  }
}

/** Adds a signature unless it is there, in place of an older one where there are too many; returns the growth. */
function addTo<T extends { readonly signature: Uint8Array }>(
  list: T[],
  entry: T,
  isSame: (other: T) => boolean,
): number {
  const same = list.filter(isSame)
  if (same.some(({ signature }) => equalBytes(signature, entry.signature))) return 0
  list.push(entry)
  const oldest = same.length >= MAX_SIGNATURES_PER_KEY ? same[0] : list.length > MAX_PER_EVENT ? list[0] : undefined
  if (oldest === undefined) return 1
  list.splice(list.indexOf(oldest), 1)
  return 0
}
