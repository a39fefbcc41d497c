import * as backend from '#backend'
import { hexEncode } from './encodings.ts'
import type { RunningHash } from './backend/backend.ts'

/** SHA-256 (FIPS 180-4): 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return backend.sha256(bytes)
}

/** SHA-256 as documents and file names spell it: 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array): string {
  return hexEncode(backend.sha256(bytes))
}

/** SHA-512 (FIPS 180-4): 64 bytes. */
export function sha512(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return backend.sha512(bytes)
}

/** Unkeyed BLAKE2b with a 32-byte digest (RFC 7693); not a cut BLAKE2b-512. */
export function blake2b256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return backend.blake2b256(bytes)
}

/** BLAKE2b with a 64-byte digest. */
export function blake2b512(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return backend.blake2b512(bytes)
}

/** BLAKE3 in hash mode: 32 bytes. */
export function blake3(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return backend.blake3(bytes)
}

/** A running SHA-256. */
export function createSha256(): RunningHash {
  return backend.createSha256()
}

/** A running BLAKE2b-256. */
export function createBlake2b256(): RunningHash {
  return backend.createBlake2b256()
}

/** HMAC-SHA-256 (RFC 2104) over the joined parts: 32 bytes. */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return backend.hmacSha256(key, parts)
}

/** HMAC-SHA-512 (RFC 2104) over the joined parts: 64 bytes. */
export function hmacSha512(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return backend.hmacSha512(key, parts)
}
