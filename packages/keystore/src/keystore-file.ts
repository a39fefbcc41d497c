import {
  PrimitivesError,
  Reader,
  Writer,
  base64Decode,
  base64Encode,
  canonicalJson,
  equalBytes,
  hexDecode,
  hexEncode,
  hkdfSha256,
  hmacSha256,
  parseStrictJson,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import { parsePassphraseKdf, passphraseCheck, writePassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import { parseKeyringDocument, writeKeyringDocument } from '@keyturn/vault-kdf/keyring'
import type { KeyringDocument } from '@keyturn/vault-kdf'
import type { PassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import { KeystoreError } from './errors.ts'
import { MAX_HEADER_BYTES, MAX_KEYSTORE_BYTES } from './limits.ts'

// offset  size  field                                          docs/spec/keystore.md §2
//  0       8    magic          89 "KTKS" 0D 0A 01 (the last byte is the format version)
//  8       4    header length  u32 big-endian
// 12       n    header         canonical JSON: generation, kdf, check, keyring
//  …       4    record count   u32 big-endian
//  …            records        id (8), length (u32 big-endian), envelope; in the order of their ids
//  …      32    MAC            HMAC-SHA-256 over everything before it
const MAGIC = new Uint8Array([0x89, 0x4b, 0x54, 0x4b, 0x53, 0x0d, 0x0a])
const VERSION = 1
const FORMAT = 'keyturn-keystore-1'
const ID_BYTES = 8
const MAC_BYTES = 32

/** A keystore file in parts. */
export interface KeystoreFile {
  /** Grows by one with each write. */
  readonly generation: number
  readonly kdf: PassphraseKdf
  readonly keyring: KeyringDocument
  /** Envelopes by record id (16 hex digits). */
  readonly records: ReadonlyMap<string, Uint8Array>
}

/** What can be read before the passphrase is there. */
export interface KeystoreHeader {
  readonly generation: number
  readonly kdf: PassphraseKdf
  readonly check: Uint8Array
  readonly keyring: JsonObject
}

function fileMac(kek: Uint8Array, bytes: Uint8Array): Uint8Array {
  const key = hkdfSha256(kek, new Uint8Array(0), utf8Encode('keyturn-keystore-1/file-mac'), 32)
  try {
    return hmacSha256(key, bytes)
  } finally {
    wipe(key)
  }
}

/** Writes a keystore file; `kek` is the key derived from the passphrase by `file.kdf`. */
export function writeKeystoreFile(file: KeystoreFile, kek: Uint8Array): Uint8Array {
  const keyring = parseStrictJson(writeKeyringDocument(file.keyring), { maxBytes: MAX_HEADER_BYTES })
  const header = utf8Encode(
    canonicalJson({
      format: FORMAT,
      generation: file.generation,
      kdf: writePassphraseKdf(file.kdf),
      check: base64Encode(passphraseCheck(kek)),
      keyring,
    }),
  )
  const writer = new Writer().bytes(MAGIC).u8(VERSION).u32be(header.length).bytes(header).u32be(file.records.size)
  for (const [id, envelope] of [...file.records].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    writer.bytes(hexDecode(id)).u32be(envelope.length).bytes(envelope)
  }
  const body = writer.finish()
  return new Writer(body.length + MAC_BYTES).bytes(body).bytes(fileMac(kek, body)).finish()
}

function damaged(message: string, cause?: unknown): KeystoreError {
  return new KeystoreError('KEY_DAMAGED', `Cannot read keystore: ${message}`, cause === undefined ? {} : { cause })
}

function fileReader(bytes: Uint8Array): Reader {
  if (bytes.length > MAX_KEYSTORE_BYTES)
    throw damaged(`${bytes.length} bytes are over the limit of ${MAX_KEYSTORE_BYTES}`)
  if (bytes.length === 0) throw damaged('the file is empty')
  const reader = new Reader(bytes, ({ message }) => damaged(message))
  const magic = reader.bytes(MAGIC.length, 'magic')
  if (!equalBytes(magic, MAGIC))
    throw new KeystoreError('KEY_FORMAT', 'The file is not a keystore: its first bytes differ')
  const version = reader.u8('version')
  if (version !== VERSION)
    throw new KeystoreError('KEY_FORMAT', `The keystore has format version ${version}, this program reads ${VERSION}`)
  return reader
}

/**
 * Reads the header: enough to derive the key from a passphrase. Nothing of it is proved yet.
 *
 * @throws KeystoreError `KEY_FORMAT`, `KEY_DAMAGED`.
 */
export function parseKeystoreHeader(bytes: Uint8Array): KeystoreHeader {
  const reader = fileReader(bytes)
  return header(reader)
}

function header(reader: Reader): KeystoreHeader {
  const length = reader.u32be('header length', { max: MAX_HEADER_BYTES })
  try {
    const json = parseStrictJson(reader.bytes(length, 'header'), { maxBytes: MAX_HEADER_BYTES })
    if (typeof json !== 'object' || json === null || Array.isArray(json) || json['format'] !== FORMAT)
      throw damaged('the header has no format')
    const { generation, kdf, check, keyring } = json
    if (
      typeof generation !== 'number' ||
      typeof check !== 'string' ||
      typeof keyring !== 'object' ||
      keyring === null ||
      Array.isArray(keyring)
    ) {
      throw damaged('the header lacks a member')
    }
    return { generation, kdf: parsePassphraseKdf(kdf), check: base64Decode(check), keyring }
  } catch (error) {
    if (error instanceof PrimitivesError || error instanceof VaultError) throw damaged('the header is changed', error)
    throw error
  }
}

/**
 * Reads a whole keystore file under the key of its passphrase.
 *
 * @throws KeystoreError `KEY_PASSPHRASE` (wrong key), `KEY_DAMAGED`, `KEY_FORMAT`.
 */
export function parseKeystoreFile(bytes: Uint8Array, kek: Uint8Array): KeystoreFile {
  const reader = fileReader(bytes)
  const head = header(reader)
  if (!equalBytes(head.check, passphraseCheck(kek))) {
    throw new KeystoreError('KEY_PASSPHRASE', 'The passphrase does not open the keystore')
  }
  const bodyEnd = bytes.length - MAC_BYTES
  if (bodyEnd < reader.offset || !equalBytes(bytes.subarray(bodyEnd), fileMac(kek, bytes.subarray(0, bodyEnd)))) {
    throw damaged('its MAC does not hold, so it was cut or changed')
  }
  const records = new Map<string, Uint8Array>()
  const count = reader.u32be('record count', { max: reader.remaining })
  for (let index = 0; index < count; index++) {
    const id = hexEncode(reader.bytes(ID_BYTES, 'record id'))
    records.set(id, reader.bytes(reader.u32be('record length', { max: reader.remaining }), 'record').slice())
  }
  reader.bytes(MAC_BYTES, 'MAC')
  reader.end()
  return { generation: head.generation, kdf: head.kdf, records, keyring: parseKeyring(head.keyring) }
}

function parseKeyring(keyring: JsonObject): KeyringDocument {
  try {
    return parseKeyringDocument(utf8Encode(canonicalJson(keyring))).document
  } catch (error) {
    if (error instanceof VaultError) throw damaged('its keyring is not consistent', error)
    throw error
  }
}
