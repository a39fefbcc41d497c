import {
  concatBytes,
  equalBytes,
  hmacSha256,
  openXChaCha20Poly1305,
  PrimitivesError,
  requireBytes,
  requireMembers,
  sealXChaCha20Poly1305,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import { M2pError } from './errors.ts'
import { HmacKey } from './hmac-key.ts'
import { MAX_U32, NONCE_BYTES, PREAMBLE_BYTES, TAG_BYTES } from './limits.ts'
import type { FormatVersion } from './version.ts'

/** The secret a running client gets, with its name. It wraps the slots and nothing else. */
export interface ContentKey {
  /** 1 to 2^32 - 1. */
  readonly keyId: number
  /** 32 bytes, secret; neither kept nor modified beyond the call or the life of the archive it opens. */
  readonly key: Uint8Array
}

/** The publisher's slots: number, from 1, to a 32-byte secret. */
export type SlotSecrets = ReadonlyMap<number, Uint8Array>

/** A slot as an archive carries it. */
export interface WrappedSlot {
  /** 1 to 2^32 - 1. */
  readonly number: number
  /** 24 bytes. */
  readonly nonce: Uint8Array
  /** The wrapped secret and its tag, 48 bytes. */
  readonly wrapped: Uint8Array
}

/** Every domain label of the format: docs/spec/m2pack.md §1 to §3, m2pack-v2.md §1.3 and §2. */
const LABELS = {
  firstSlot: utf8Encode('m2pack first slot v1'),
  commitment: utf8Encode('m2pack key commitment v1'),
  wrapKey: utf8Encode('m2pack wrap key v1'),
  slot: utf8Encode('m2pack slot v1'),
  slotNonce: utf8Encode('m2pack slot nonce v1'),
  fileKey: utf8Encode('m2pack file key v1'),
  tableKey: utf8Encode('m2pack table key v1'),
  tableNonce: utf8Encode('m2pack table nonce v1'),
  nonce: utf8Encode('m2pack nonce v1'),
  fileKey2: utf8Encode('m2pack file key v2'),
  nonce2: utf8Encode('m2pack nonce v2'),
  tableKey2: utf8Encode('m2pack table key v2'),
  tableNonce2: utf8Encode('m2pack table nonce v2'),
} as const

/**
 * Memory for a secret. The engine keeps arrays this small on its heap, where it moves them and leaves copies. This one
 * is elsewhere.
 */
export function secretBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length))
}

/** `value` as four bytes, little-endian. */
export function u32Bytes(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array([value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24])
}

function u16Bytes(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array([value & 0xff, value >>> 8])
}

/** Refuses a content key of wrong length or an impossible key_id: a misused API. */
export function checkContentKey(contentKey: ContentKey): void {
  requireMembers(contentKey, 'contentKey', ['keyId', 'key'])
  const { keyId, key } = contentKey
  if (!Number.isInteger(keyId) || keyId < 1 || keyId > MAX_U32)
    throw new RangeError('key_id must be an integer from 1 to 2^32 - 1')
  if (!(key instanceof Uint8Array) || key.length !== 32) throw new TypeError('The content key must be 32 bytes')
}

/**
 * Refuses options without the keys that every writer needs.
 *
 * @throws TypeError; {@link M2pError} `M2P_KEY_INVALID` for a content key of zeros: a buffer that nobody filled.
 */
export function checkKeys(options: { readonly contentKey: ContentKey; readonly signingSeed: Uint8Array }): void {
  requireMembers(options, 'options', [])
  checkContentKey(options.contentKey)
  if (options.contentKey.key.every((byte) => byte === 0))
    throw new M2pError('M2P_KEY_INVALID', 'The content key holds only zeros')
  requireBytes(options.signingSeed, 'signingSeed')
}

/** Refuses slots that no archive could carry: a misused API. */
export function checkSlots(slots: SlotSecrets): void {
  for (const [number, secret] of slots) {
    if (!Number.isInteger(number) || number < 1 || number > MAX_U32)
      throw new RangeError('A slot number must be an integer from 1 to 2^32 - 1')
    if (!(secret instanceof Uint8Array) || secret.length !== 32) throw new TypeError(`Slot ${number} must be 32 bytes`)
  }
}

/** Slot 1 of a publisher who keeps no slots: HMAC-SHA-256(content key, label). A fresh secret; the caller wipes it. */
export function deriveFirstSlot(contentKey: Uint8Array): Uint8Array {
  requireBytes(contentKey, 'contentKey')
  return hmacSha256(contentKey, LABELS.firstSlot)
}

/**
 * What an archive says about its content key without giving it away, so that a wrong key is refused before any
 * payload is touched and no ciphertext opens under two keys. Also named in the signed release manifest.
 */
export function keyCommitment(contentKey: ContentKey): Uint8Array {
  requireMembers(contentKey, 'contentKey', ['keyId', 'key'])
  const { keyId, key } = contentKey
  return hmacSha256(key, LABELS.commitment, u32Bytes(keyId))
}

/** @throws {@link M2pError} `M2P_KEY_COMMITMENT`. */
export function checkCommitment(contentKey: ContentKey, commitment: Uint8Array): void {
  if (!equalBytes(keyCommitment(contentKey), commitment)) {
    throw new M2pError(
      'M2P_KEY_COMMITMENT',
      `The content key given as key_id ${contentKey.keyId} is not the one the archive was made for`,
    )
  }
}

/**
 * Checks that a content key is the one that an archive names.
 *
 * @throws {@link M2pError} `M2P_KEY_ID_MISMATCH`, `M2P_KEY_COMMITMENT`.
 */
export function checkKeyOf(contentKey: ContentKey, keyId: number, commitment: Uint8Array): void {
  if (contentKey.keyId !== keyId) {
    throw new M2pError(
      'M2P_KEY_ID_MISMATCH',
      `The archive is of key_id ${keyId}, the content key of key_id ${contentKey.keyId}`,
      { details: { archive: keyId, contentKey: contentKey.keyId } },
    )
  }
  checkCommitment(contentKey, commitment)
}

function tableNonce({ keyId, key }: ContentKey, { manifest, start, version }: TablePlace): Uint8Array {
  const table = manifest.subarray(start)
  // In version 2 the preamble is part of it: one nonce for equal entries under two preambles would be used twice.
  const digest =
    version === 1
      ? hmacSha256(key, LABELS.tableNonce, u32Bytes(keyId), table)
      : hmacSha256(key, LABELS.tableNonce2, manifest.subarray(0, PREAMBLE_BYTES), table)
  return digest.slice(0, NONCE_BYTES)
}

function tableKeyOf({ keyId, key }: ContentKey, version: FormatVersion): Uint8Array {
  return hmacSha256(key, version === 1 ? LABELS.tableKey : LABELS.tableKey2, u32Bytes(keyId))
}

/** The entry table within a manifest. */
export interface TablePlace {
  readonly manifest: Uint8Array
  /** Where the table starts. */
  readonly start: number
  readonly version: FormatVersion
}

/**
 * Encrypts the entry table of a manifest, so that nobody without the content key can list the files.
 *
 * @param place - Of the table in the clear.
 * @returns The same preamble and slots, then nonce, ciphertext and tag: 40 bytes more.
 */
export function sealTable(contentKey: ContentKey, place: TablePlace): Uint8Array<ArrayBuffer> {
  const { manifest, start, version } = place
  const nonce = tableNonce(contentKey, place)
  const tableKey = tableKeyOf(contentKey, version)
  try {
    const sealed = sealXChaCha20Poly1305(tableKey, nonce, manifest.subarray(start), {
      aad: manifest.subarray(0, PREAMBLE_BYTES),
    })
    return concatBytes(manifest.subarray(0, start), nonce, sealed)
  } finally {
    wipe(tableKey)
  }
}

/**
 * The reverse of {@link sealTable}; the content key was checked against the commitment before.
 *
 * @throws {@link M2pError} `M2P_TOC`, `M2P_DECRYPT`.
 */
export function openTable(contentKey: ContentKey, { manifest, start, version }: TablePlace): Uint8Array<ArrayBuffer> {
  const at = start + NONCE_BYTES
  if (manifest.length < at + TAG_BYTES)
    throw new M2pError(
      'M2P_TOC',
      `Cannot read the sealed table: ${manifest.length - start} bytes are too short for one`,
    )
  const tableKey = tableKeyOf(contentKey, version)
  const opened = new Uint8Array(manifest.length - NONCE_BYTES - TAG_BYTES)
  opened.set(manifest.subarray(0, start))
  try {
    const aad = manifest.subarray(0, PREAMBLE_BYTES)
    const nonce = manifest.subarray(start, at)
    openXChaCha20Poly1305(tableKey, nonce, manifest.subarray(at), { aad, out: opened.subarray(start) })
    return opened
  } catch (error) {
    if (!(error instanceof PrimitivesError)) throw error
    throw new M2pError(
      'M2P_DECRYPT',
      `The table of the archive does not open under the content key ${contentKey.keyId}`,
      {
        cause: error,
      },
    )
  } finally {
    wipe(tableKey)
  }
}

function slotAad(keyId: number, number: number): Uint8Array {
  return concatBytes(LABELS.slot, u32Bytes(keyId), u32Bytes(number))
}

/** Wraps one slot under a content key. */
export function wrapSlot({ keyId, key }: ContentKey, number: number, secret: Uint8Array): WrappedSlot {
  const nonce = hmacSha256(key, LABELS.slotNonce, u32Bytes(keyId), u32Bytes(number), secret).slice(0, NONCE_BYTES)
  const wrapKey = hmacSha256(key, LABELS.wrapKey, u32Bytes(keyId))
  try {
    return { number, nonce, wrapped: sealXChaCha20Poly1305(wrapKey, nonce, secret, { aad: slotAad(keyId, number) }) }
  } finally {
    wipe(wrapKey)
  }
}

/**
 * Opens every slot of an archive.
 *
 * @returns Fresh secrets; the caller wipes them.
 * @throws {@link M2pError} `M2P_DECRYPT`.
 */
export function unwrapSlots({ keyId, key }: ContentKey, slots: readonly WrappedSlot[]): Map<number, Uint8Array> {
  const wrapKey = hmacSha256(key, LABELS.wrapKey, u32Bytes(keyId))
  const secrets = new Map<number, Uint8Array>()
  try {
    for (const { number, nonce, wrapped } of slots) {
      const binding = { aad: slotAad(keyId, number), out: secretBytes(32) }
      secrets.set(number, openXChaCha20Poly1305(wrapKey, nonce, wrapped, binding))
    }
    return secrets
  } catch (error) {
    wipe(...secrets.values())
    if (!(error instanceof PrimitivesError)) throw error
    throw new M2pError('M2P_DECRYPT', `A slot of the archive does not open under the content key ${keyId}`, {
      cause: error,
    })
  } finally {
    wipe(wrapKey)
  }
}

/**
 * A slot with its HMAC key prepared: file keys and nonces are made by the thousand, and most from little input.
 * Wipe it after use.
 */
export class SlotKey {
  readonly #hmac: HmacKey

  /** @param secret - 32 bytes; copied. */
  constructor(secret: Uint8Array) {
    this.#hmac = new HmacKey(secret)
  }

  /** The key of one file under its slot; a fresh secret, the caller wipes it. */
  fileKey(path: Uint8Array, sha256: Uint8Array): Uint8Array {
    return this.#hmac.sign(LABELS.fileKey, u16Bytes(path.length), path, sha256)
  }

  /** The synthetic nonce of segment `index` of `count`: equal input gives an equal nonce, other input another. */
  nonce(path: Uint8Array, index: number, count: number, bytes: Uint8Array): Uint8Array {
    const digest = this.#hmac.sign(LABELS.nonce, u16Bytes(path.length), path, u32Bytes(index), u32Bytes(count), bytes)
    return digest.subarray(0, NONCE_BYTES)
  }

  /** The key of one file under its slot in version 2, whatever is in it; a fresh secret, the caller wipes it. */
  fileKey2(path: Uint8Array): Uint8Array {
    return this.#hmac.sign(LABELS.fileKey2, u16Bytes(path.length), path)
  }

  /** The synthetic nonce of a segment in version 2: its place in the file does not count. */
  nonce2(path: Uint8Array, bytes: Uint8Array): Uint8Array {
    return this.#hmac.sign(LABELS.nonce2, u16Bytes(path.length), path, bytes).subarray(0, NONCE_BYTES)
  }

  /** Wipes the prepared key. */
  wipe(): void {
    this.#hmac.wipe()
  }
}

/** The additional data of segment `index` of `count`: the path alone when there is one segment. */
export function segmentAad(path: Uint8Array, index: number, count: number): Uint8Array {
  return count === 1 ? path : concatBytes(path, new Uint8Array(1), u32Bytes(index), u32Bytes(count))
}
