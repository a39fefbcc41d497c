/** The part of `sodium-native` that is used here; the package ships no types. */
export interface Sodium {
  readonly crypto_generichash_STATEBYTES: number
  crypto_generichash(output: Uint8Array, input: Uint8Array): void
  crypto_generichash_init(state: Uint8Array, key: null, outputLength: number): void
  crypto_generichash_update(state: Uint8Array, input: Uint8Array): void
  crypto_generichash_final(state: Uint8Array, output: Uint8Array): void
  crypto_aead_chacha20poly1305_ietf_encrypt(
    ciphertext: Uint8Array,
    plaintext: Uint8Array,
    aad: Uint8Array | null,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  crypto_aead_chacha20poly1305_ietf_decrypt(
    plaintext: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    aad: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  crypto_aead_xchacha20poly1305_ietf_encrypt(
    ciphertext: Uint8Array,
    plaintext: Uint8Array,
    aad: Uint8Array | null,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  crypto_aead_xchacha20poly1305_ietf_decrypt(
    plaintext: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    aad: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
  crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
  crypto_scalarmult_base(publicKey: Uint8Array, secret: Uint8Array): void
  crypto_scalarmult(shared: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): void
}
