/**
 * Something that can sign with a list of keys: a keystore, an agent, a token. It never hands out a secret.
 */
export interface Signer {
  /** Ed25519 public keys, 32 bytes each, that this signer can sign with. */
  readonly publicKeys: readonly Uint8Array[]
  /**
   * Signs with one of the keys.
   *
   * @param message - The bytes to sign.
   * @param keyIndex - Place in `publicKeys`.
   * @returns 64 bytes.
   */
  sign(message: Uint8Array, keyIndex: number): Promise<Uint8Array> | Uint8Array
}
