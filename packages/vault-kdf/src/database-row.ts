import { VaultError } from './errors.ts'
import { isLayer } from './place.ts'
import type { Layer } from './place.ts'
import type { CensusRow, RecordFormat, StoredRecord } from './store.ts'

/** A row as a database gives it: columns by their names. */
export type Row = Readonly<Record<string, unknown>>

/** A record of a row; `undefined` for none. */
export function toRecord(row: Row | undefined): StoredRecord | undefined {
  if (row === undefined) return undefined
  const {
    partition,
    cell,
    name,
    layer,
    format,
    key_version: keyVersion,
    revision,
    envelope,
    sidecar,
    expires_at: expiresAt,
  } = row
  return {
    partition: String(partition),
    cell: String(cell),
    name: String(name),
    layer: layerOf(layer),
    format: formatOf(format),
    keyVersion: Number(keyVersion),
    revision: Number(revision),
    envelope: bytesOf(envelope),
    ...(sidecar === null ? {} : { sidecar: bytesOf(sidecar) }),
    ...(expiresAt === null ? {} : { expiresAt: Number(expiresAt) }),
  }
}

/** A line of the census. */
export function toCensusRow(row: Row): CensusRow {
  return {
    keyVersion: Number(row['key_version']),
    layer: layerOf(row['layer']),
    format: formatOf(row['format']),
    count: Number(row['count']),
    bytes: Number(row['bytes']),
  }
}

/** @throws VaultError `VK_STORE_DAMAGED`. */
export function layerOf(value: unknown): Layer {
  if (typeof value === 'number' && isLayer(value)) return value
  throw new VaultError('VK_STORE_DAMAGED', 'A row of the database has no layer')
}

/** @throws VaultError `VK_STORE_DAMAGED`. */
export function formatOf(value: unknown): RecordFormat {
  if (value === 'v1' || value === 'v0') return value
  throw new VaultError('VK_STORE_DAMAGED', 'A row of the database has no format')
}

/** @throws VaultError `VK_STORE_DAMAGED`. */
export function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value
  throw new VaultError('VK_STORE_DAMAGED', 'A row of the database has no bytes')
}
