import { blake2b256, blake3, requireBytes, sha256, utf8Encode } from '@keyturn/primitives'
import { blake2s } from '@noble/hashes/blake2.js'
import { sha3_256 } from '@noble/hashes/sha3.js'
import { blake3Chunk, MAX_CHUNK_BYTES } from './blake3-chunk.ts'
import { isValueOf } from './cesr/base64url.ts'
import { checkShortMatter, encodeMatter } from './cesr/matter.ts'
import { digestCodes } from './cesr/codes.ts'
import { refusal } from './rule.ts'

const hashes: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  E: (bytes) => (bytes.length <= MAX_CHUNK_BYTES ? blake3Chunk(bytes) : blake3(bytes)),
  F: blake2b256,
  G: (bytes) => blake2s(bytes),
  H: (bytes) => sha3_256(bytes),
  I: sha256,
}

function hashOf(code: string): (bytes: Uint8Array) => Uint8Array {
  const hash = hashes[code]
  if (hash === undefined) throw refusal('KEL_CESR', `Code ${code} is not a 256-bit digest`)
  return hash
}

/** Digest of bytes as qb64 text; code E is BLAKE3-256, the default of KERI. */
export function digestText(bytes: Uint8Array, code = 'E'): string {
  return encodeMatter(code, hashOf(code)(bytes))
}

/**
 * The promise of a next key: the digest of the 44-character text of the public key, not of its raw bytes.
 *
 * @param key - Public key, qb64.
 */
export function nextKeyDigest(key: string): string {
  return digestText(utf8Encode(key))
}

/** True when `key` is the one that `digest` promised. The code of the digest names its own hash. */
export function matchesDigest(digest: string, key: string): boolean {
  checkShortMatter(digest, 'n', digestCodes)
  return isValueOf(digest, 1, hashOf(digest[0] as string)(utf8Encode(key)), 1)
}

/** A digest seal: `{"d": "<qb64>"}`. */
export interface DigestSeal {
  readonly d: string
}

/**
 * The digest seal of bytes under SHA2-256 (code I): what release identities carry for their role document.
 *
 * @param bytes - The literal bytes of the document.
 */
export function sha256DigestSeal(bytes: Uint8Array): DigestSeal {
  requireBytes(bytes, 'bytes')
  return { d: digestText(bytes, 'I') }
}

/**
 * The same seal from a SHA-256 digest (32 bytes) that is computed already.
 */
export function sha256Seal(digest: Uint8Array): DigestSeal {
  return { d: encodeMatter('I', digest) }
}
