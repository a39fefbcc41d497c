import { PrimitivesError, hexEncode, systemRandom, wipe } from '@keyturn/primitives'
import type { RandomSource, SecretBytes } from '@keyturn/primitives'
import { VaultError, derivePartitionKey, openEnvelope, parseEnvelopeHeader, sealEnvelope } from '@keyturn/vault-kdf'
import {
  activeVersion,
  destroy,
  findEntry,
  hedgedSalt,
  nextVersion,
  promote,
  quarantine,
  stage,
  unwrapMaster,
  wrapMaster,
} from '@keyturn/vault-kdf/keyring'
import type { KeyringDocument, PartitionKey } from '@keyturn/vault-kdf'
import type { PassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import { KeystoreError } from './errors.ts'
import { parseIndex, writeIndex } from './entry.ts'
import type { KeystoreIndex } from './entry.ts'
import { parseKeystoreFile, writeKeystoreFile } from './keystore-file.ts'
import type { KeystoreFile } from './keystore-file.ts'

const PARTITION = 'keystore'
const INDEX_ID = '0000000000000000'
const RECORD_ID_BYTES = 8
const MASTER_BYTES = 32
const SALT_BYTES = 32

/** What one generation of a keystore holds, with the key that opens it. Immutable: changes make new contents. */
export interface Contents extends KeystoreFile {
  readonly index: KeystoreIndex
}

/** The place of one record: the index has a cell of its own, so that no secret can take its place. */
function placeOf(recordId: string): { cell: string; name: string; layer: 0; context: Record<string, never> } {
  return { cell: recordId === INDEX_ID ? 'index' : 'secret', name: recordId, layer: 0, context: {} }
}

/** Derives the partition key of a version for the length of one call. */
function withPartitionKey<T>(
  keyring: KeyringDocument,
  version: number,
  kek: SecretBytes,
  use: (key: PartitionKey) => T,
): T {
  const { wrapped } = findEntry(keyring, version)
  if (wrapped === undefined)
    throw new KeystoreError('KEY_DAMAGED', `A secret is sealed under key version ${version}, which was destroyed`)
  const master = kek.withBytes((key) => unwrapMaster(key, wrapped, wrapContext(keyring.vaultId, version)))
  const partitionKey = derivePartitionKey(master, version, PARTITION)
  wipe(master)
  try {
    return use(partitionKey)
  } finally {
    wipe(partitionKey)
  }
}

function wrapContext(vaultId: string, keyVersion: number): { vaultId: string; keyVersion: number; purpose: 'master' } {
  return { vaultId, keyVersion, purpose: 'master' }
}

/** What records are sealed with. */
export interface Sealer {
  /** Opens the wrapped masters. */
  readonly kek: SecretBytes
  readonly random: RandomSource
}

/** Seals one record under the active version. */
function sealRecord(
  keyring: KeyringDocument,
  { kek, random }: Sealer,
  recordId: string,
  plaintext: Uint8Array,
): Uint8Array {
  const version = activeVersion(keyring)
  if (version === undefined) throw new KeystoreError('KEY_DAMAGED', 'The keystore has no active key version')
  const place = { partition: PARTITION, ...placeOf(recordId) }
  return withPartitionKey(keyring, version, kek, (key) => {
    const salt = hedgedSalt(key, random(SALT_BYTES), { place, keyVersion: version, plaintext })
    return sealEnvelope(key, place, plaintext, { keyVersion: version, salt })
  })
}

/**
 * Opens one record; the caller wipes the result.
 *
 * @throws KeystoreError `KEY_DAMAGED`.
 */
export function openRecord(file: KeystoreFile, kek: SecretBytes, recordId: string): Uint8Array {
  const envelope = file.records.get(recordId)
  const head = envelope === undefined ? undefined : parseEnvelopeHeader(envelope)
  if (envelope === undefined || head === undefined)
    throw new KeystoreError('KEY_DAMAGED', 'A record of the keystore is missing')
  try {
    return withPartitionKey(file.keyring, head.keyVersion, kek, (key) => openEnvelope(key, placeOf(recordId), envelope))
  } catch (cause) {
    if (!(cause instanceof VaultError || cause instanceof PrimitivesError)) throw cause
    throw new KeystoreError('KEY_DAMAGED', 'A record of the keystore does not open', { cause })
  }
}

/** First contents: one master, no secrets. */
export function newContents(
  kdf: PassphraseKdf,
  kek: SecretBytes,
  at: number,
  random: RandomSource = systemRandom,
): Contents {
  const empty: KeyringDocument = { vaultId: hexEncode(random(16)), epoch: 0, entries: [], nodes: [], legacy: 'refuse' }
  const keyring = addMaster(empty, kek, at, random)
  return sealIndex(
    { generation: 1, kdf, keyring, records: new Map(), index: { entries: new Map(), tombstones: new Map() } },
    { kek, random },
  )
}

/** Stages and promotes a fresh master. */
function addMaster(keyring: KeyringDocument, kek: SecretBytes, at: number, random: RandomSource): KeyringDocument {
  const version = nextVersion(keyring)
  const plaintext = random(MASTER_BYTES)
  try {
    const wrapped = kek.withBytes((key) => wrapMaster(key, plaintext, wrapContext(keyring.vaultId, version), random))
    return promote(stage(keyring, version, { plaintext, wrapped }, at), version, at)
  } finally {
    wipe(plaintext)
  }
}

function sealIndex(contents: Contents, sealer: Sealer): Contents {
  const plaintext = writeIndex(contents.index)
  const records = new Map(contents.records)
  records.set(INDEX_ID, sealRecord(contents.keyring, sealer, INDEX_ID, plaintext))
  return { ...contents, records }
}

/** The contents with another index and other records, as the next generation. `secrets` are sealed, then wiped. */
export function nextContents(
  contents: Contents,
  { index, secrets }: { readonly index: KeystoreIndex; readonly secrets: ReadonlyMap<string, Uint8Array> },
  sealer: Sealer,
): Contents {
  const records = new Map<string, Uint8Array>()
  for (const { recordId } of index.entries.values()) {
    const secret = secrets.get(recordId)
    const kept = contents.records.get(recordId)
    if (secret !== undefined) records.set(recordId, sealRecord(contents.keyring, sealer, recordId, secret))
    else if (kept !== undefined) records.set(recordId, kept)
    else throw new KeystoreError('KEY_DAMAGED', 'A record of the keystore is missing')
  }
  return sealIndex({ ...contents, generation: contents.generation + 1, index, records }, sealer)
}

/**
 * Rotates the master: a fresh version seals everything again and the old one is destroyed at once, since one write
 * replaces the whole file.
 */
export function rotateMaster(contents: Contents, at: number, sealer: Sealer): Contents {
  const { kek, random } = sealer
  const old = contents.keyring.entries.filter((entry) => entry.wrapped !== undefined).map((entry) => entry.version)
  let keyring = addMaster(contents.keyring, kek, at, random)
  const records = new Map<string, Uint8Array>()
  for (const { recordId } of contents.index.entries.values()) {
    const plaintext = openRecord(contents, kek, recordId)
    records.set(recordId, sealRecord(keyring, sealer, recordId, plaintext))
    wipe(plaintext)
  }
  for (const version of old) keyring = destroyNow(keyring, version, at)
  return sealIndex({ ...contents, generation: contents.generation + 1, keyring, records }, sealer)
}

/** No record is left under it, so a quarantine would keep a key that nothing needs. */
function destroyNow(keyring: KeyringDocument, version: number, at: number): KeyringDocument {
  return destroy(quarantine(keyring, version, 0, at), version, at, { census: 0, quarantineMs: 0 })
}

/** The same contents under another passphrase: every wrapped master is wrapped again. */
export function rewrapContents(
  contents: Contents,
  from: SecretBytes,
  { kdf, kek: to, random }: Sealer & { readonly kdf: PassphraseKdf },
): Contents {
  const { vaultId } = contents.keyring
  const entries = contents.keyring.entries.map((entry) => {
    if (entry.wrapped === undefined) return entry
    const context = wrapContext(vaultId, entry.version)
    const { wrapped } = entry
    const master = from.withBytes((key) => unwrapMaster(key, wrapped, context))
    try {
      return { ...entry, wrapped: to.withBytes((key) => wrapMaster(key, master, context, random)) }
    } finally {
      wipe(master)
    }
  })
  return { ...contents, generation: contents.generation + 1, kdf, keyring: { ...contents.keyring, entries } }
}

/** Bytes to contents. @throws KeystoreError `KEY_PASSPHRASE`, `KEY_DAMAGED`, `KEY_FORMAT`. */
export function readContents(bytes: Uint8Array, kek: SecretBytes): Contents {
  const file = kek.withBytes((key) => parseKeystoreFile(bytes, key))
  return { ...file, index: parseIndex(openRecord(file, kek, INDEX_ID)) }
}

/** Contents to bytes. */
export function writeContents(contents: Contents, kek: SecretBytes): Uint8Array {
  return kek.withBytes((key) => writeKeystoreFile(contents, key))
}

/** A fresh record id that is not the index's. */
export function newRecordId(random: RandomSource): string {
  const id = hexEncode(random(RECORD_ID_BYTES))
  return id === INDEX_ID ? newRecordId(random) : id
}
