import { utf8Encode } from '@keyturn/primitives'
import { coupleGroup } from '../cesr/attachments.ts'
import { formatVersion } from '../version-string.ts'

/** What a receipt speaks about. */
export interface Receipted {
  readonly said: string
  readonly prefix: string
  readonly sn: number
}

/**
 * Writes a receipt: the message `rct` with one couple (`-C`) of witness and signature.
 *
 * @param event - The event that was signed.
 * @param witness - Prefix of the witness, code B.
 * @param signature - Its signature over the literal bytes of the event.
 */
export function writeReceipt(event: Receipted, witness: string, signature: Uint8Array): Uint8Array {
  const withVersion = (size: number): string =>
    `{"v":"${formatVersion(size)}","t":"rct","d":"${event.said}","i":"${event.prefix}","s":"${event.sn.toString(16)}"}`
  return utf8Encode(withVersion(withVersion(0).length) + coupleGroup([{ prefix: witness, signature }]))
}
