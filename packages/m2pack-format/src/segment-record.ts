import { SEGMENT_RECORD_BYTES } from './entries.ts'
import { u32Bytes } from './keys.ts'

/** One segment's part of an entry: stored size and nonce. */
export function segmentRecord(storedSize: number, nonce: Uint8Array): Uint8Array {
  const record = new Uint8Array(SEGMENT_RECORD_BYTES)
  record.set(u32Bytes(storedSize))
  record.set(nonce, 4)
  return record
}
