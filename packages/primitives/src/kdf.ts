import * as backend from '#backend'
import type { ScryptParameters } from './backend/backend.ts'
import { hmacSha256, hmacSha512 } from './hash.ts'
import { wipe } from './secret.ts'

interface HkdfHash {
  readonly hmac: typeof hmacSha256
  readonly hashLength: number
}

interface HkdfInput {
  readonly ikm: Uint8Array
  readonly salt: Uint8Array
  readonly info: Uint8Array
}

function hkdf({ hmac, hashLength }: HkdfHash, { ikm, salt, info }: HkdfInput, length: number): Uint8Array<ArrayBuffer> {
  if (!Number.isInteger(length) || length < 0 || length > 255 * hashLength) {
    throw new RangeError(`HKDF gives 0 to ${255 * hashLength} bytes, not ${length}`)
  }
  const prk = hmac(salt.length === 0 ? new Uint8Array(hashLength) : salt, ikm)
  const okm = new Uint8Array(length)
  let block: Uint8Array = new Uint8Array(0)
  for (let offset = 0, counter = 1; offset < length; offset += hashLength, counter++) {
    const next = hmac(prk, block, info, Uint8Array.of(counter))
    wipe(block)
    block = next
    okm.set(block.subarray(0, Math.min(hashLength, length - offset)), offset)
  }
  wipe(prk, block)
  return okm
}

/**
 * HKDF with SHA-256 (RFC 5869), extract and expand.
 *
 * @param ikm - Secret input; not modified.
 * @param salt - May be empty: then a block of zeros replaces it, as the RFC says.
 * @param info - Domain label.
 * @param length - Bytes to derive, at most 8,160.
 */
export function hkdfSha256(
  ikm: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array<ArrayBuffer> {
  return hkdf({ hmac: hmacSha256, hashLength: 32 }, { ikm, salt, info }, length)
}

/** HKDF with SHA-512 (RFC 5869), extract and expand; at most 16,320 bytes. */
export function hkdfSha512(
  ikm: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array<ArrayBuffer> {
  return hkdf({ hmac: hmacSha512, hashLength: 64 }, { ikm, salt, info }, length)
}

/**
 * Scrypt (RFC 7914).
 *
 * @param passphrase - Secret; not modified.
 * @param salt - Random, kept beside what it protects.
 * @param parameters - Cost and length. From outside they are a claim: bound them before calling.
 */
export function scrypt(
  passphrase: Uint8Array,
  salt: Uint8Array,
  parameters: ScryptParameters,
): Uint8Array<ArrayBuffer> {
  const { N, r, p, length } = parameters
  if (!Number.isInteger(Math.log2(N)) || N < 2 || r < 1 || p < 1 || length < 1) {
    throw new RangeError(`scrypt cannot run with N ${N}, r ${r}, p ${p}, length ${length}`)
  }
  return backend.scrypt(passphrase, salt, parameters)
}
