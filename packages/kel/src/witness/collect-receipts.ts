import { concatBytes } from '@keyturn/primitives'
import { KelError } from '../errors.ts'
import { composeMessage } from '../escrow.ts'
import type { KeyEvent } from '../event.ts'
import { isReceipt, parseMessage } from '../message.ts'
import type { Message } from '../message.ts'
import type { SignedEvent } from '../owner/sign-event.ts'
import { verifyWitnesses } from '../signatures.ts'
import { plainBytes, readFrame, readFrames } from '../stream.ts'
import type { Witness } from '../witness.ts'

/** What one witness answered. */
export interface WitnessAnswer {
  readonly prefix: string
  /**
   * `receipt`: its signature verifies; `held`: it waits for something; `invalid`: what it sent is not a receipt of its
   * own for this event; `refused`: it named a rule, see `code`; `unavailable`: no answer; `stranger`: the event does
   * not name it; `repeated`: it is in the list already and was not asked again.
   */
  readonly outcome: 'receipt' | 'held' | 'invalid' | 'refused' | 'unavailable' | 'stranger' | 'repeated'
  /** Code of a refusal; `KEL_DUPLICITY` deserves a look at once. */
  readonly code?: string
  /** A sentence for people. */
  readonly explanation: string
}

/** What a round of polling came to. */
export interface CollectedReceipts {
  /** True when enough witnesses have signed. */
  readonly satisfied: boolean
  readonly threshold: number
  /** One for each witness that was given, in that order. */
  readonly answers: readonly WitnessAnswer[]
  /** Places in the witness list whose signature verifies, with those that the event brought along. */
  readonly signatures: ReadonlyMap<number, Uint8Array>
  /** The event with these signatures behind it (`-B`): is complete once the threshold is met. */
  readonly message: Uint8Array
}

/** Options of {@link collectReceipts}. */
export interface CollectOptions {
  /** The log before the event, with its receipts: a witness that has not seen it needs it. Default: empty. */
  readonly log?: Uint8Array | undefined
}

interface Asked extends WitnessAnswer {
  readonly place?: number
  readonly signature?: Uint8Array
}

/** The witness's own signature among what it sent, if it verifies. */
function ownSignature(receipts: Uint8Array, event: SignedEvent, place: number): Uint8Array | undefined {
  for (const frame of readFrames(plainBytes(receipts))) {
    const message = parseMessage(frame)
    if (!isReceipt(message) || message.event.said !== event.said) continue
    const { witnessSignatures, couples } = message.attachments
    const signature = verifyWitnesses(event.state.witnesses, event.event, witnessSignatures, couples).get(place)
    if (signature !== undefined) return signature
  }
  return undefined
}

function afterError(prefix: string, error: unknown): WitnessAnswer {
  if (!(error instanceof KelError)) {
    return { prefix, outcome: 'unavailable', explanation: error instanceof Error ? error.message : String(error) }
  }
  const outcome =
    error.kind === 'unavailable' || error.kind === 'io' || error.kind === 'busy' ? 'unavailable' : 'refused'
  return { prefix, outcome, code: error.code, explanation: error.message }
}

async function ask(witness: Witness, event: SignedEvent, stream: Uint8Array): Promise<Asked> {
  const { prefix } = witness
  const place = event.state.witnesses.indexOf(prefix)
  if (place < 0) return { prefix, outcome: 'stranger', explanation: `Event ${event.sn} does not name this witness` }
  let receipts: Uint8Array | undefined
  try {
    receipts = await witness.submit(stream)
  } catch (error) {
    return afterError(prefix, error)
  }
  if (receipts === undefined) return { prefix, outcome: 'held', explanation: `Event ${event.sn} waits at this witness` }
  try {
    const signature = ownSignature(receipts, event, place)
    if (signature !== undefined)
      return { prefix, outcome: 'receipt', explanation: `Event ${event.sn} is receipted`, place, signature }
  } catch (error) {
    if (!(error instanceof KelError)) throw error
    return { prefix, outcome: 'invalid', code: error.code, explanation: error.message }
  }
  return { prefix, outcome: 'invalid', explanation: `No signature of this witness on event ${event.sn} verifies` }
}

/**
 * Polls witnesses for receipts of an event, all at once, and verifies what they send. Never throws for what a witness
 * does: who answered what is in the result.
 *
 * @param event - A new event, as {@link incept}, {@link rotate} and {@link interact} give it.
 * @param witnesses - Whom to ask.
 * @param threshold - How many must have signed. Default: what the event demands; less than that would not be valid.
 */
export async function collectReceipts(
  event: SignedEvent,
  witnesses: readonly Witness[],
  threshold = event.state.witnessThreshold,
  { log = new Uint8Array(0) }: CollectOptions = {},
): Promise<CollectedReceipts> {
  const stream = concatBytes(log, event.message)
  const isRepeated = (prefix: string, index: number): boolean =>
    witnesses.findIndex((witness) => witness.prefix === prefix) < index
  const asked: Asked[] = await Promise.all(
    witnesses.map((witness, index) =>
      isRepeated(witness.prefix, index)
        ? { prefix: witness.prefix, outcome: 'repeated' as const, explanation: 'This witness was asked already' }
        : ask(witness, event, stream),
    ),
  )
  const message = parseMessage(readFrame(plainBytes(event.message), 0)) as Message<KeyEvent>
  const brought = verifyWitnesses(event.state.witnesses, event.event, message.attachments.witnessSignatures)
  const signatures = new Map([
    ...brought,
    ...asked.flatMap(({ place, signature }) =>
      place === undefined || signature === undefined ? [] : [[place, signature] as const],
    ),
  ])
  return {
    satisfied: signatures.size >= threshold,
    threshold,
    signatures,
    answers: asked.map(({ prefix, outcome, code, explanation }) => ({
      prefix,
      outcome,
      explanation,
      ...(code === undefined ? {} : { code }),
    })),
    message: withSignatures(message, signatures),
  }
}

function withSignatures(message: Message<KeyEvent>, signatures: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const witnessSignatures = [...signatures]
    .toSorted(([a], [b]) => a - b)
    .map(([index, signature]) => ({ code: 'A', index, ondex: index, signature }))
  return composeMessage({ ...message, attachments: { ...message.attachments, witnessSignatures } })
}
