import { tryOpenEnvelope, parseEnvelopeHeader } from './envelope.ts'
import type { EnvelopeHeader } from './envelope.ts'
import { VaultError } from './errors.ts'
import { checkUse } from './key-state.ts'
import type { KeyUse } from './key-state.ts'
import type { Keyring, PartitionKeyName } from './keyring.ts'
import { tryOpenLegacy } from './legacy.ts'
import type { LegacyAttempt, LegacyProfile } from './legacy.ts'
import type { LayerContext } from './place.ts'
import type { RecordFormat, VaultRecord } from './store.ts'

/** A record as it comes to be opened: without a `format` column both readings are tried in order. */
export type RecordToOpen = Omit<VaultRecord, 'format' | 'keyVersion'> & {
  readonly format?: RecordFormat
  readonly keyVersion?: number
}

/** An opened record: what it was sealed under tells whether it is worth resealing. */
export interface OpenedRecord {
  /** The caller wipes it. */
  readonly plaintext: Uint8Array
  readonly keyVersion: number
  /** Set when the bytes were HexVault's. */
  readonly legacyProfile?: LegacyProfile
}

const LEGACY_MIN_BYTES = 28

/** Profile that opened last, by partition: tried first next time. */
export type ProfileMemory = Map<string, LegacyProfile>

/** Why a record is opened, and what earlier ones taught. */
export interface OpenOptions {
  readonly use: Exclude<KeyUse, 'seal'>
  readonly memory: ProfileMemory
}

/**
 * Opens a record in the exact order of docs/spec/vault-kdf.md §6.3: header, key version, commitment, decryption; and
 * only where legacy bytes are accepted, each profile with each legacy master.
 *
 * @throws VaultError `VK_AUTH`, `VK_FORMAT`, `VK_VERSION_*`, `VK_CONTEXT`, `VK_PROVIDER`.
 */
export async function openRecord(
  keyring: Keyring,
  record: RecordToOpen,
  context: LayerContext,
  { use, memory }: OpenOptions,
): Promise<OpenedRecord> {
  if (record.envelope.length < LEGACY_MIN_BYTES)
    throw new VaultError('VK_FORMAT', `A record of ${record.envelope.length} bytes is none`)
  let unavailable: unknown
  const header = record.format === 'v0' ? undefined : parseEnvelopeHeader(record.envelope)
  if (header !== undefined && header.layer === record.layer) {
    // A column was changed.
    if (record.keyVersion !== undefined && record.keyVersion !== header.keyVersion) throw refused()
    try {
      const result = await keyring.withPartitionKey(keyOf(header, record.partition), use, (key) =>
        tryOpenEnvelope(key, { ...record, context }, record.envelope),
      )
      if ('plaintext' in result) return { plaintext: result.plaintext, keyVersion: header.keyVersion }
      if (result.failure === 'integrity' || record.format === 'v1') throw refused()
    } catch (error) {
      if (!isUnavailable(error) || record.format === 'v1') throw error
      unavailable = error
    }
  } else if (record.format === 'v1') throw refused()
  if (keyring.document.legacy === 'refuse') {
    throw unavailable ?? new VaultError('VK_FORMAT', 'The record has no header, and reading HexVault bytes is off')
  }
  const opened = await openLegacyRecord(keyring, record, context, { use, memory })
  if (opened !== undefined) return opened
  throw unavailable ?? refused()
}

const keyOf = ({ keyVersion, format }: EnvelopeHeader, partition: string): PartitionKeyName => ({
  version: keyVersion,
  partition,
  format,
})

function refused(): VaultError {
  return new VaultError('VK_AUTH', 'Cannot open record: the bytes do not belong to this key and place')
}

/** Unknown or destroyed: then the header may be chance, and the bytes older ones. */
function isUnavailable(error: unknown): boolean {
  return error instanceof VaultError && (error.code === 'VK_VERSION_UNKNOWN' || error.code === 'VK_VERSION_RETIRED')
}

async function openLegacyRecord(
  keyring: Keyring,
  record: RecordToOpen,
  context: LayerContext,
  { use, memory }: OpenOptions,
): Promise<OpenedRecord | undefined> {
  const last = memory.get(record.partition)
  const attempts = keyring.document.entries
    .flatMap(({ version, state, legacyProfiles = [] }) =>
      legacyProfiles.map((profile) => ({ version, state, profile })),
    )
    .toSorted((a, b) => Number(b.profile === last) - Number(a.profile === last))
  // The record does not say whose it is: a master that may not be used now must not hide the one that opens it.
  let withheld: unknown
  for (const { version, state, profile } of attempts) {
    if (state === 'destroyed' || state === 'quarantined') continue
    let attempt: LegacyAttempt
    try {
      checkUse(version, state, use)
      attempt = await keyring.withMaster(version, (master) =>
        tryOpenLegacy(profile, master, { ...record, context }, record.envelope),
      )
    } catch (error) {
      if (!(error instanceof VaultError) || error.code === 'VK_CLOSED') throw error
      withheld ??= error
      continue
    }
    if ('plaintext' in attempt) {
      memory.set(record.partition, profile)
      return { plaintext: attempt.plaintext, keyVersion: version, legacyProfile: profile }
    }
    if (attempt.failure === 'inner') throw refused() // the outer layer fixed profile and master
  }
  if (withheld !== undefined) throw withheld
  return undefined
}
