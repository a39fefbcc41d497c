import {
  PrimitivesError,
  base64Decode,
  base64Encode,
  canonicalJson,
  equalBytes,
  hexDecode,
  hexEncode,
  hkdfSha256,
  hmacSha256,
  parseStrictJson,
  wipe,
} from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { isKeyState } from './key-state.ts'
import type { KeyState } from './key-state.ts'
import { isLegacyProfile } from './legacy.ts'
import type { LegacyProfile } from './legacy.ts'
import { labels } from './labels.ts'
import { lengthPrefixed, utf8 } from './length-prefixed.ts'
import { KEY_BYTES, MAX_KEYRING_BYTES, MAX_KEY_VERSION, MAX_KEY_VERSIONS } from './limits.ts'

/** One move of a key. */
export interface KeyTransition {
  readonly state: KeyState
  /** Milliseconds since 1970. */
  readonly at: number
}

/** One master key of a keyring; destroyed ones stay as tombstones without their wrapped bytes. */
export interface KeyringEntry {
  readonly version: number
  readonly state: KeyState
  /** 16 hex digits, the first 8 bytes of HKDF over the master: tells keys apart and is safe to show. */
  readonly fingerprint: string
  /** The master as its provider wrapped it; absent once destroyed. */
  readonly wrapped?: Uint8Array
  readonly history: readonly KeyTransition[]
  /** Records that were still under it when it was destroyed by force; 0 otherwise. */
  readonly finalCensus?: number
  /** Set on a master brought from HexVault: which of its generations wrote with it. */
  readonly legacyProfiles?: readonly LegacyProfile[]
}

/** A process that must know a staged key before it is used. */
export interface KeyringNode {
  readonly id: string
  /** The newest epoch this node has loaded. */
  readonly acknowledgedEpoch: number
}

/** The versions of one vault and what may be done with each. Immutable; changes make a new one. */
export interface KeyringDocument {
  readonly vaultId: string
  /** Grows by one with each change; an older document is never taken for a newer. */
  readonly epoch: number
  readonly entries: readonly KeyringEntry[]
  readonly nodes: readonly KeyringNode[]
  /** Whether bytes without a header may be read as HexVault's. */
  readonly legacy: 'accept' | 'refuse'
  /** The secret behind the audit MACs, wrapped; it does not turn with the masters. */
  readonly auditSecret?: Uint8Array
  /**
   * Set once the vault has erasable partitions: by document of partition secrets (two hex digits), how many partitions
   * in it were erased. A document that counts fewer is an older copy.
   */
  readonly erasures?: Readonly<Record<string, number>>
}

const FORMAT = 'keyturn-keyring-1'
/** With `erasures`: a reader that does not know them must not write the document without them. */
const FORMAT_ERASABLE = 'keyturn-keyring-2'

/**
 * Writes the document: canonical JSON with a MAC, when there is a key for it.
 *
 * @param macSecret - The audit secret; without it the container must protect the document (a keystore file does).
 */
export function writeKeyringDocument(document: KeyringDocument, macSecret?: Uint8Array): Uint8Array {
  const body = toJson(document)
  if (macSecret === undefined) return utf8(canonicalJson(body))
  return utf8(canonicalJson({ ...body, mac: base64Encode(keyringMac(body, macSecret)) }))
}

function keyringMac(body: JsonObject, macSecret: Uint8Array): Uint8Array {
  const key = hkdfSha256(macSecret, new Uint8Array(0), lengthPrefixed(labels.keyringMac), KEY_BYTES)
  try {
    return hmacSha256(key, utf8(canonicalJson(body)))
  } finally {
    wipe(key)
  }
}

function toJson(document: KeyringDocument): JsonObject {
  return {
    format: document.erasures === undefined ? FORMAT : FORMAT_ERASABLE,
    vault_id: document.vaultId,
    epoch: document.epoch,
    legacy: document.legacy,
    nodes: document.nodes.map((node) => ({ id: node.id, acknowledged_epoch: node.acknowledgedEpoch })),
    entries: document.entries.map(entryToJson),
    ...(document.auditSecret === undefined ? {} : { audit_secret: base64Encode(document.auditSecret) }),
    ...(document.erasures === undefined ? {} : { erasures: { ...document.erasures } }),
  }
}

function entryToJson(entry: KeyringEntry): JsonObject {
  return {
    version: entry.version,
    state: entry.state,
    fingerprint: entry.fingerprint,
    history: entry.history.map(({ state, at }) => ({ state, at })),
    ...(entry.wrapped === undefined ? {} : { wrapped: base64Encode(entry.wrapped) }),
    ...(entry.finalCensus === undefined ? {} : { final_census: entry.finalCensus }),
    ...(entry.legacyProfiles === undefined ? {} : { legacy_profiles: [...entry.legacyProfiles] }),
  }
}

/** A parsed document whose MAC is still to be checked: the secret for it is wrapped inside. */
export interface ParsedKeyring {
  readonly document: KeyringDocument
  /**
   * Checks the MAC.
   *
   * @throws VaultError `VK_KEYRING`.
   */
  verifyMac(macSecret: Uint8Array): void
}

/**
 * Parses a keyring document: shape and inner consistency.
 *
 * @throws VaultError `VK_KEYRING`.
 */
export function parseKeyringDocument(bytes: Uint8Array): ParsedKeyring {
  try {
    const { mac, ...body } = object(parseStrictJson(bytes, { maxBytes: MAX_KEYRING_BYTES }))
    if (body['format'] !== (body['erasures'] === undefined ? FORMAT : FORMAT_ERASABLE)) throw damaged('format')
    const document = fromJson(body)
    checkConsistency(document)
    return {
      document,
      verifyMac(macSecret) {
        const found = typeof mac === 'string' ? base64Decode(mac) : new Uint8Array(0)
        if (!equalBytes(found, keyringMac(body, macSecret)))
          throw new VaultError('VK_KEYRING', 'The MAC of the keyring document is wrong')
      },
    }
  } catch (error) {
    if (error instanceof PrimitivesError)
      throw new VaultError('VK_KEYRING', 'Cannot read the keyring document', { cause: error })
    throw error
  }
}

function fromJson(body: JsonObject): KeyringDocument {
  const audit = body['audit_secret']
  const legacy = text(body, 'legacy')
  if (legacy !== 'accept' && legacy !== 'refuse') throw damaged('legacy')
  return {
    vaultId: text(body, 'vault_id'),
    epoch: integer(body, 'epoch', Number.MAX_SAFE_INTEGER),
    legacy,
    nodes: list(body, 'nodes').map((node) => ({
      id: text(node, 'id'),
      acknowledgedEpoch: integer(node, 'acknowledged_epoch', Number.MAX_SAFE_INTEGER),
    })),
    entries: list(body, 'entries').map(entryFromJson),
    ...(audit === undefined ? {} : { auditSecret: base64Decode(text(body, 'audit_secret')) }),
    ...(body['erasures'] === undefined ? {} : { erasures: erasuresFromJson(object(body['erasures'])) }),
  }
}

function erasuresFromJson(counts: JsonObject): Record<string, number> {
  const erasures: Record<string, number> = {}
  for (const shard of Object.keys(counts)) {
    if (!/^[0-9a-f]{2}$/.test(shard)) throw damaged('erasures')
    erasures[shard] = integer(counts, shard, Number.MAX_SAFE_INTEGER)
  }
  return erasures
}

function entryFromJson(entry: JsonObject): KeyringEntry {
  const fingerprint = text(entry, 'fingerprint')
  if (hexDecode(fingerprint).length !== 8) throw damaged('fingerprint')
  return {
    version: integer(entry, 'version', MAX_KEY_VERSION),
    state: state(entry),
    fingerprint,
    history: list(entry, 'history').map((step) => ({
      state: state(step),
      at: integer(step, 'at', Number.MAX_SAFE_INTEGER),
    })),
    ...(entry['wrapped'] === undefined ? {} : { wrapped: base64Decode(text(entry, 'wrapped')) }),
    ...(entry['final_census'] === undefined
      ? {}
      : { finalCensus: integer(entry, 'final_census', Number.MAX_SAFE_INTEGER) }),
    ...(entry['legacy_profiles'] === undefined ? {} : { legacyProfiles: profiles(entry['legacy_profiles']) }),
  }
}

function profiles(value: JsonValue): LegacyProfile[] {
  if (!Array.isArray(value) || !value.every(isLegacyProfile)) throw damaged('legacy profiles')
  return value
}

/** Rules that hold between the entries: one active at most, versions and fingerprints once, bytes unless destroyed. */
function checkConsistency(document: KeyringDocument): void {
  const { entries } = document
  if (entries.length > MAX_KEY_VERSIONS) throw damaged('entries')
  if (entries.filter((entry) => entry.state === 'active').length > 1) throw damaged('active version')
  if (new Set(entries.map((entry) => entry.version)).size !== entries.length) throw damaged('version')
  if (new Set(entries.map((entry) => entry.fingerprint)).size !== entries.length) throw damaged('fingerprint')
  if (entries.some((entry) => (entry.wrapped === undefined) !== (entry.state === 'destroyed')))
    throw damaged('wrapped master')
  if (entries.some((entry) => entry.history.at(-1)?.state !== entry.state)) throw damaged('history')
}

function damaged(field: string): VaultError {
  return new VaultError('VK_KEYRING', `Cannot read the keyring document: its ${field} is wrong`, { details: { field } })
}

function object(value: JsonValue | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged('shape')
  return value
}

function list(from: JsonObject, field: string): JsonObject[] {
  const value = from[field]
  if (!Array.isArray(value)) throw damaged(field)
  return value.map(object)
}

function text(from: JsonObject, field: string): string {
  const value = from[field]
  if (typeof value !== 'string' || value === '') throw damaged(field)
  return value
}

function integer(from: JsonObject, field: string, max: number): number {
  const value = from[field]
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) throw damaged(field)
  return value
}

function state(from: JsonObject): KeyState {
  const value = from['state']
  if (!isKeyState(value)) throw damaged('state')
  return value
}

/** The 16 hex digits of a fingerprint. */
export function fingerprintText(fingerprint: Uint8Array): string {
  return hexEncode(fingerprint)
}
