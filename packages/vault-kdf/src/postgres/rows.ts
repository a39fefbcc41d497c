import { bytesOf, toRecord } from '../database-row.ts'
import type { Row } from '../database-row.ts'
import type { StoredRecord } from '../store.ts'

/** Drivers give bytes as a `Buffer`, which is a view of shared memory. */
export function plainBytes(value: unknown): Uint8Array {
  return new Uint8Array(bytesOf(value))
}

/** A record of a row; `undefined` for none. @throws VaultError `VK_STORE_DAMAGED`. */
export function rowToRecord(row: Row | undefined): StoredRecord | undefined {
  const record = toRecord(row)
  if (record === undefined) return undefined
  const { envelope, sidecar, ...columns } = record
  return {
    ...columns,
    envelope: plainBytes(envelope),
    ...(sidecar === undefined ? {} : { sidecar: plainBytes(sidecar) }),
  }
}
