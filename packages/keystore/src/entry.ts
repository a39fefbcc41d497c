import {
  base64Decode,
  base64Encode,
  canonicalJson,
  hexEncode,
  hkdfSha256,
  parseStrictJson,
  sha256,
  utf8Encode,
} from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { checkAlias } from './alias.ts'
import { KeystoreError } from './errors.ts'
import { MAX_ENTRIES, MAX_SECRET_BYTES } from './limits.ts'

/** When a secret is to be turned. Other members are kept as they are. */
export interface SecretPolicy extends JsonObject {}

/** What the keystore tells of a secret without opening it. */
export interface SecretEntry {
  readonly alias: string
  /** What it is: `ed25519-seed`, `content-key`, `x25519-secret`, `token` … */
  readonly kind: string
  /** 16 hex digits: of the public key's SHA-256 where there is one, else of a keyed derivation. Safe to show. */
  readonly fingerprint: string
  readonly publicKey?: Uint8Array
  /** Milliseconds since 1970. */
  readonly created: number
  /** When this alias last got another secret; milliseconds since 1970. */
  readonly rotated?: number
  /** `rotate_after_days` and whatever else its owner keeps there. */
  readonly policy?: SecretPolicy
  readonly note?: string
  /** The alias may never stand for another secret, not even after removal (content keys). */
  readonly once: boolean
}

/** A secret to keep. */
export interface NewSecret {
  readonly kind: string
  /** 1 byte to 1 MiB; copied, the caller wipes its own. */
  readonly secret: Uint8Array
  readonly publicKey?: Uint8Array
  /** Default: now. */
  readonly created?: number
  readonly rotated?: number
  readonly policy?: SecretPolicy
  readonly note?: string
  /** See {@link SecretEntry.once}; default `false`. */
  readonly once?: boolean
}

/** What stays of a removed `once` alias. */
export interface Tombstone {
  readonly alias: string
  readonly fingerprint: string
  readonly removed: number
}

/** An entry and where its envelope is in the file. */
export interface IndexedEntry extends SecretEntry {
  readonly recordId: string
}

/** Everything the keystore knows but the secrets themselves; kept sealed, as one record. */
export interface KeystoreIndex {
  readonly entries: ReadonlyMap<string, IndexedEntry>
  readonly tombstones: ReadonlyMap<string, Tombstone>
}

/** Checks kind and size. @throws KeystoreError `KEY_SECRET`. */
export function checkSecret(secret: NewSecret): void {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(secret.kind) || secret.kind.length > 64) {
    throw new KeystoreError(
      'KEY_SECRET',
      'The kind of a secret is lower-case words joined by dashes, 64 characters at most',
    )
  }
  if (secret.secret.length >= 1 && secret.secret.length <= MAX_SECRET_BYTES) return
  throw new KeystoreError('KEY_SECRET', `A secret has 1 to ${MAX_SECRET_BYTES} bytes, this one ${secret.secret.length}`)
}

/** 16 hex digits that tell one secret from another. */
export function secretFingerprint({ secret, publicKey }: Pick<NewSecret, 'secret' | 'publicKey'>): string {
  const digest =
    publicKey === undefined
      ? hkdfSha256(secret, new Uint8Array(0), utf8Encode('keyturn-keystore-1/fingerprint'), 32)
      : sha256(publicKey)
  return hexEncode(digest.subarray(0, 8))
}

const FORMAT = 'keyturn-keystore-index-1'

/** The index as canonical JSON. */
export function writeIndex(index: KeystoreIndex): Uint8Array {
  return utf8Encode(
    canonicalJson({
      format: FORMAT,
      entries: [...index.entries.values()].map(entryToJson),
      tombstones: [...index.tombstones.values()].map(({ alias, fingerprint, removed }) => ({
        alias,
        fingerprint,
        removed,
      })),
    }),
  )
}

function entryToJson(entry: IndexedEntry): JsonObject {
  return {
    alias: entry.alias,
    kind: entry.kind,
    fingerprint: entry.fingerprint,
    created: entry.created,
    record: entry.recordId,
    ...(entry.once ? { once: true } : {}),
    ...(entry.publicKey === undefined ? {} : { public_key: base64Encode(entry.publicKey) }),
    ...(entry.rotated === undefined ? {} : { rotated: entry.rotated }),
    ...(entry.policy === undefined ? {} : { policy: entry.policy }),
    ...(entry.note === undefined ? {} : { note: entry.note }),
  }
}

/** Parses the index. It comes out of an authenticated envelope, so an error here is damage or a later version. */
export function parseIndex(bytes: Uint8Array): KeystoreIndex {
  const index = object(parseStrictJson(bytes, { maxBytes: bytes.length }))
  if (index['format'] !== FORMAT)
    throw new KeystoreError('KEY_FORMAT', 'The index of the keystore is of an unknown format')
  const entries = list(index, 'entries').map(entryFromJson)
  const tombstones = list(index, 'tombstones').map((stone) => ({
    alias: text(stone, 'alias'),
    fingerprint: text(stone, 'fingerprint'),
    removed: number(stone, 'removed'),
  }))
  if (entries.length > MAX_ENTRIES) throw damaged('entries')
  return {
    entries: new Map(entries.map((entry) => [entry.alias, entry])),
    tombstones: new Map(tombstones.map((stone) => [stone.alias, stone])),
  }
}

function entryFromJson(entry: JsonObject): IndexedEntry {
  const { policy } = entry
  const alias = text(entry, 'alias')
  checkAlias(alias)
  return {
    alias,
    kind: text(entry, 'kind'),
    fingerprint: text(entry, 'fingerprint'),
    created: number(entry, 'created'),
    recordId: text(entry, 'record'),
    once: entry['once'] === true,
    ...(entry['public_key'] === undefined ? {} : { publicKey: base64Decode(text(entry, 'public_key')) }),
    ...(entry['rotated'] === undefined ? {} : { rotated: number(entry, 'rotated') }),
    ...(policy === undefined ? {} : { policy: object(policy) }),
    ...(entry['note'] === undefined ? {} : { note: text(entry, 'note') }),
  }
}

function damaged(field: string): KeystoreError {
  return new KeystoreError('KEY_DAMAGED', `The index of the keystore has a wrong "${field}"`)
}

function object(value: JsonValue): JsonObject {
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
  if (typeof value !== 'string') throw damaged(field)
  return value
}

function number(from: JsonObject, field: string): number {
  const value = from[field]
  if (typeof value !== 'number') throw damaged(field)
  return value
}
