/** A running hash. */
export interface RunningHash {
  /** Adds bytes. */
  update(bytes: Uint8Array): this
  /** The digest. The hash cannot be used after that. */
  digest(): Uint8Array<ArrayBuffer>
}

/** Cost of scrypt (RFC 7914) and the length of what it gives. */
export interface ScryptParameters {
  /** Cost, a power of two over 1. */
  readonly N: number
  /** Block size. */
  readonly r: number
  /** Parallelism. */
  readonly p: number
  /** Bytes to derive. */
  readonly length: number
}

/** What an AEAD binds, and where it writes. */
export interface AeadMemory {
  readonly aad: Uint8Array
  readonly out: Uint8Array
}

/**
 * What a backend offers, as a module: portable.ts and accelerated.ts export these names. Callers check lengths first.
 * Equal input gives equal output on every backend. An AEAD that does not open returns `undefined`.
 */
export interface Backend {
  readonly name: 'accelerated' | 'portable'
  sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  sha512(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  blake2b256(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  blake2b512(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  blake3(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  createSha256(): RunningHash
  createBlake2b256(): RunningHash
  hmacSha256(key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer>
  hmacSha512(key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer>
  scrypt(passphrase: Uint8Array, salt: Uint8Array, parameters: ScryptParameters): Uint8Array<ArrayBuffer>
  sealXChaCha20Poly1305(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, memory: AeadMemory): void
  openXChaCha20Poly1305(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array, memory: AeadMemory): boolean
  sealChaCha20Poly1305(
    key: Uint8Array,
    nonce: Uint8Array,
    plaintext: Uint8Array,
    aad: Uint8Array,
  ): Uint8Array<ArrayBuffer>
  openChaCha20Poly1305(
    key: Uint8Array,
    nonce: Uint8Array,
    ciphertext: Uint8Array,
    aad: Uint8Array,
  ): Uint8Array<ArrayBuffer> | undefined
  /** Writes ciphertext and tag into `out`, which may start at the same memory as `plaintext`. */
  sealAes256Gcm(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, memory: AeadMemory): void
  openAes256Gcm(
    key: Uint8Array,
    nonce: Uint8Array,
    ciphertext: Uint8Array,
    aad: Uint8Array,
  ): Uint8Array<ArrayBuffer> | undefined
  ed25519PublicKey(seed: Uint8Array): Uint8Array<ArrayBuffer>
  ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array<ArrayBuffer>
  /** Cofactorless, canonical S; the caller has already refused weak A and R. */
  ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
  x25519PublicKey(secret: Uint8Array): Uint8Array<ArrayBuffer>
  /** The shared secret, which the caller refuses when it is all zero. */
  x25519(secret: Uint8Array, publicKey: Uint8Array): Uint8Array<ArrayBuffer>
}

/** A copy in an `ArrayBuffer` of its own, never a slice of a shared pool. */
export function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
