import { recordBytesOf, SEGMENT_RECORD_BYTES } from './entries.ts'
import { u32Bytes } from './keys.ts'

/** One segment's part of an entry of version 1: stored size and nonce. */
export function segmentRecord(storedSize: number, nonce: Uint8Array): Uint8Array {
  const record = new Uint8Array(SEGMENT_RECORD_BYTES)
  record.set(u32Bytes(storedSize))
  record.set(nonce, 4)
  return record
}

/** The same in version 2, where its bytes of plaintext come first. */
export function segmentRecord2(originalSize: number, storedSize: number, nonce: Uint8Array): Uint8Array {
  const record = new Uint8Array(recordBytesOf(2))
  record.set(u32Bytes(originalSize))
  record.set(segmentRecord(storedSize, nonce), 4)
  return record
}
