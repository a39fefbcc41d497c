import { parseAttachments } from './cesr/attachments.ts'
import type { Attachments, ReceiptCouple } from './cesr/attachments.ts'
import type { IndexedSignature } from './cesr/indexed-signature.ts'
import { parseEvent } from './event.ts'
import type { KeyEvent, ParseOptions, ReceiptEvent } from './event.ts'
import { attachmentText } from './stream.ts'
import type { Frame } from './stream.ts'

/** Witness signatures on one event that came in receipts. */
export interface Receipts {
  readonly indexed: readonly IndexedSignature[]
  readonly couples: readonly ReceiptCouple[]
}

/** An event or receipt with its attachments: parsed, its SAID checked, nothing else verified. */
export interface Message<E extends KeyEvent | ReceiptEvent = KeyEvent | ReceiptEvent> {
  readonly event: E
  readonly attachments: Attachments
  /** Body and attachments as they came. */
  readonly bytes: Uint8Array
  /** Witness signatures on the same event that came in receipts of their own. */
  readonly receipts?: Receipts
}

/**
 * Parses one frame of a stream.
 *
 * @throws {@link KelError} of {@link parseEvent} and of {@link parseAttachments}.
 */
export function parseMessage(frame: Frame, options: ParseOptions = {}): Message {
  const event = parseEvent(frame.body, frame.version, options)
  return { event, attachments: parseAttachments(attachmentText(frame)), bytes: frame.bytes }
}

/** Narrows a message to one that belongs into a log. */
export function isKeyEvent(message: Message): message is Message<KeyEvent> {
  return message.event.type !== 'rct'
}

/** Narrows a message to a receipt. */
export function isReceipt(message: Message): message is Message<ReceiptEvent> {
  return message.event.type === 'rct'
}
