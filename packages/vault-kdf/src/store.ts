import { compareBytes } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { utf8 } from './length-prefixed.ts'
import type { Layer, RecordId } from './place.ts'

/** `v1`: an envelope of this package. `v0`: bytes of HexVault without a header. */
export type RecordFormat = 'v1' | 'v0'

/** One sealed record with the columns a store indexes; each is checked against the authenticated header on opening. */
export interface VaultRecord extends RecordId {
  readonly layer: Layer
  readonly format: RecordFormat
  /** Version of the master it is sealed under; 0 for `v0`. */
  readonly keyVersion: number
  readonly envelope: Uint8Array
  /** The context ids, sealed for the sweep alone. */
  readonly sidecar?: Uint8Array
  /** From then on the sweep removes it instead of resealing it; milliseconds since 1970. */
  readonly expiresAt?: number
}

/** A record as it is in a store: each write gives it the next revision. */
export interface StoredRecord extends VaultRecord {
  readonly revision: number
}

/** What a write wants to find: a revision, nothing (`absent`), or whatever (`any`). */
export type Expected = number | 'absent' | 'any'

/** One write of a batch. */
export type StoreChange =
  | { readonly put: VaultRecord; readonly expected: Expected }
  | { readonly remove: RecordId; readonly expected: Expected }

/** What became of one write: done, somebody was faster, or its key version is not the active one. */
export type StoreOutcome = 'done' | 'conflict' | 'stale'

/** A small named document: the keyring, a sweep job, the last checkpoint. */
export interface DocumentWrite {
  readonly name: string
  readonly bytes: Uint8Array
  /** Revision found, or `absent`. A mismatch refuses the whole batch. */
  readonly expected: number | 'absent'
  /** Set together with the document: see {@link Fence}. */
  readonly fence?: Fence
}

/** Which key version writes may carry. It closes the race of a slow writer with a promotion. */
export interface Fence {
  readonly epoch: number
  /** `undefined`: no `v1` write is taken. */
  readonly activeVersion: number | undefined
}

/** One row of the census. */
export interface CensusRow {
  readonly keyVersion: number
  readonly layer: Layer
  readonly format: RecordFormat
  readonly count: number
  /** Bytes of their envelopes. */
  readonly bytes: number
}

/** What a page of records is taken from. */
export interface ScanQuery {
  readonly partition?: string | undefined
  readonly cell?: string | undefined
  /** Records of format `v1` under this version. */
  readonly keyVersion?: number | undefined
  readonly format?: RecordFormat | undefined
  /** Records behind this one, in the order of {@link compareRecordIds}. */
  readonly after?: RecordId | undefined
  readonly limit: number
}

/**
 * Where sealed records lie. Stores know no keys. Every implementation passes one suite
 * of tests (`storeContract` of `@keyturn/vault-kdf/store-contract`).
 */
export interface VaultStore {
  get(id: RecordId): Promise<StoredRecord | undefined>
  /**
   * Applies the changes and the document as one: durable together or not at all. Single changes may be refused
   * (`conflict`, `stale`) while the others are done.
   *
   * A `v1` put must carry the fence's active version. A `v0` put (an import) is taken only where nothing is.
   *
   * @throws VaultError `VK_CONFLICT` when the document was changed by somebody else: then nothing is done.
   */
  apply(changes: readonly StoreChange[], document?: DocumentWrite): Promise<readonly StoreOutcome[]>
  /** A page of records in the order of {@link compareRecordIds}. */
  scan(query: ScanQuery): Promise<readonly StoredRecord[]>
  /** Exact counts, kept with every write; cheap. */
  census(): Promise<readonly CensusRow[]>
  readDocument(name: string): Promise<{ readonly bytes: Uint8Array; readonly revision: number } | undefined>
  /**
   * The fence as last written, `undefined` before the first. A store that can read it shows when the keyring document
   * alone was put back from a backup; without it census and audit chain are left to tell.
   */
  readFence?(): Promise<Fence | undefined>
  /**
   * Rids the store's own files of what was overwritten or removed, so far as it can: called after a partition secret
   * was destroyed. A store without it leaves old bytes where its storage leaves them.
   */
  forgetOverwritten?(): Promise<void>
  close(): Promise<void>
}

/** Where partition secrets are kept: every {@link VaultStore} will do. */
export type PartitionSecretStore = Pick<VaultStore, 'readDocument' | 'apply' | 'forgetOverwritten'>

/** Total order of records: partition, cell, name, each by its UTF-8 bytes. */
export function compareRecordIds(a: RecordId, b: RecordId): number {
  return (
    compareBytes(utf8(a.partition), utf8(b.partition)) ||
    compareBytes(utf8(a.cell), utf8(b.cell)) ||
    compareBytes(utf8(a.name), utf8(b.name))
  )
}

/** Whether the fence refuses a write. */
export function isStale(record: VaultRecord, fence: Fence | undefined): boolean {
  return record.format === 'v1' && fence?.activeVersion !== record.keyVersion
}

/** Whether what was found is what a write wants. */
export function meetsExpectation(expected: Expected, revision: number | undefined): boolean {
  if (expected === 'any') return true
  return expected === 'absent' ? revision === undefined : revision === expected
}

/** The refusal of a batch whose document somebody else has written. */
export function documentConflict(name: string): VaultError {
  return new VaultError('VK_CONFLICT', `Document "${name}" was changed by somebody else`, {
    details: { document: name },
  })
}

/** Records under one key version; those without a header count for the legacy masters. */
export function countVersion(census: readonly CensusRow[], keyVersion: number, legacyMaster: boolean): number {
  return census
    .filter((row) => (row.format === 'v0' ? legacyMaster : row.keyVersion === keyVersion))
    .reduce((sum, row) => sum + row.count, 0)
}
