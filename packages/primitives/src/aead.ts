import * as backend from '#backend'
import { PrimitivesError } from './errors.ts'
import { requireLength } from './lengths.ts'

/** Bytes of an AEAD key. */
const AEAD_KEY_LENGTH = 32
/** Bytes that each AEAD here adds to a plaintext. */
const AEAD_TAG_LENGTH = 16

const NO_AAD = new Uint8Array(0)
const XCHACHA_NONCE_LENGTH = 24
const SHORT_NONCE_LENGTH = 12

/** What an AEAD binds beside the message. */
export interface AeadOptions {
  /** What is bound but not encrypted; default: nothing. */
  readonly aad?: Uint8Array | undefined
}

/** As {@link AeadOptions}, for ciphers that can write into memory of the caller. */
export interface AeadOutputOptions extends AeadOptions {
  /** Where to write, long enough; fresh memory when absent. */
  readonly out?: Uint8Array | undefined
}

/** Bytes where options belong would be dropped, and the ciphertext would be bound to nothing. */
function additionalData(options: AeadOptions): Uint8Array {
  if (options instanceof Uint8Array) throw new TypeError('Additional data is an option: pass { aad }')
  return options.aad ?? NO_AAD
}

function refuse(): never {
  // One code for every cause: which check failed would be an oracle.
  throw new PrimitivesError(
    'PRIM_DECRYPT',
    'Cannot open the ciphertext: key, nonce, additional data and tag do not belong together',
  )
}

function requireKeyAndNonce(key: Uint8Array, nonce: Uint8Array, nonceLength: number): void {
  requireLength(key, AEAD_KEY_LENGTH, 'key')
  requireLength(nonce, nonceLength, 'nonce')
}

function outputOf(length: number, out: Uint8Array | undefined): Uint8Array {
  if (out === undefined) return new Uint8Array(length)
  if (out.length < length) throw new RangeError(`out must hold ${length} bytes, not ${out.length}`)
  return out.subarray(0, length)
}

/**
 * Seals with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03).
 *
 * @param key - 32 bytes, secret.
 * @param nonce - 24 bytes, never used twice under one key with other input.
 * @param plaintext - What is encrypted.
 * @param options - `aad` is bound but not encrypted; `out` is where to write.
 * @returns Ciphertext and 16-byte tag; a view of `out` where that was given.
 */
export function sealXChaCha20Poly1305(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  options: AeadOutputOptions = {},
): Uint8Array {
  const aad = additionalData(options)
  requireKeyAndNonce(key, nonce, XCHACHA_NONCE_LENGTH)
  const sealed = outputOf(plaintext.length + AEAD_TAG_LENGTH, options.out)
  backend.sealXChaCha20Poly1305(key, nonce, plaintext, { aad, out: sealed })
  return sealed
}

/**
 * Opens what {@link sealXChaCha20Poly1305} sealed. Nothing unauthenticated is given out; `out` holds
 * nothing of use after a failure.
 *
 * @throws {@link PrimitivesError} `PRIM_DECRYPT`, whatever the cause.
 */
export function openXChaCha20Poly1305(
  key: Uint8Array,
  nonce: Uint8Array,
  ciphertext: Uint8Array,
  options: AeadOutputOptions = {},
): Uint8Array {
  const aad = additionalData(options)
  requireKeyAndNonce(key, nonce, XCHACHA_NONCE_LENGTH)
  if (ciphertext.length < AEAD_TAG_LENGTH) refuse()
  const plaintext = outputOf(ciphertext.length - AEAD_TAG_LENGTH, options.out)
  if (!backend.openXChaCha20Poly1305(key, nonce, ciphertext, { aad, out: plaintext })) {
    plaintext.fill(0)
    refuse()
  }
  return plaintext
}

/** Seals with ChaCha20-Poly1305 (RFC 8439): 12-byte nonce, ciphertext and tag. */
export function sealChaCha20Poly1305(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  options: AeadOptions = {},
): Uint8Array<ArrayBuffer> {
  const aad = additionalData(options)
  requireKeyAndNonce(key, nonce, SHORT_NONCE_LENGTH)
  return backend.sealChaCha20Poly1305(key, nonce, plaintext, aad)
}

/**
 * Opens ChaCha20-Poly1305 (RFC 8439).
 *
 * @throws {@link PrimitivesError} `PRIM_DECRYPT`, whatever the cause.
 */
export function openChaCha20Poly1305(
  key: Uint8Array,
  nonce: Uint8Array,
  ciphertext: Uint8Array,
  options: AeadOptions = {},
): Uint8Array<ArrayBuffer> {
  const aad = additionalData(options)
  requireKeyAndNonce(key, nonce, SHORT_NONCE_LENGTH)
  if (ciphertext.length < AEAD_TAG_LENGTH) refuse()
  return backend.openChaCha20Poly1305(key, nonce, ciphertext, aad) ?? refuse()
}

/**
 * Seals with AES-256-GCM (NIST SP 800-38D): 12-byte nonce, ciphertext and tag.
 *
 * @param options - `out` may begin with the very memory of `plaintext`.
 * @returns Ciphertext and 16-byte tag; a view of `out` where that was given.
 */
export function sealAes256Gcm(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  options: AeadOutputOptions = {},
): Uint8Array {
  const aad = additionalData(options)
  requireKeyAndNonce(key, nonce, SHORT_NONCE_LENGTH)
  const sealed = outputOf(plaintext.length + AEAD_TAG_LENGTH, options.out)
  backend.sealAes256Gcm(key, nonce, plaintext, { aad, out: sealed })
  return sealed
}

/**
 * Opens AES-256-GCM (NIST SP 800-38D); nonces of other lengths than 12 bytes are refused.
 *
 * @throws {@link PrimitivesError} `PRIM_DECRYPT`, whatever the cause.
 */
export function openAes256Gcm(
  key: Uint8Array,
  nonce: Uint8Array,
  ciphertext: Uint8Array,
  options: AeadOptions = {},
): Uint8Array<ArrayBuffer> {
  const aad = additionalData(options)
  requireKeyAndNonce(key, nonce, SHORT_NONCE_LENGTH)
  if (ciphertext.length < AEAD_TAG_LENGTH) refuse()
  return backend.openAes256Gcm(key, nonce, ciphertext, aad) ?? refuse()
}
