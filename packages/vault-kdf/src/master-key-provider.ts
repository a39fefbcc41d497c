/** What a wrapped master is for; bound to it where the provider can. */
export interface WrapContext {
  readonly vaultId: string
  /** Key version, or 0 for the audit secret. */
  readonly keyVersion: number
  readonly purpose: 'master' | 'audit'
}

/** A fresh master: the wrapped form is stored, the plaintext is used and wiped. */
export interface GeneratedMaster {
  readonly wrapped: Uint8Array
  readonly plaintext: Uint8Array
}

/**
 * Where master keys come from and who can unwrap them: a file under a passphrase, the OS keychain, a KMS (the caller
 * passes its client to an adapter of a few lines). The provider rotates its own wrapping key whenever it likes; the
 * vault turns masters. The two are independent (docs/spec/vault-kdf.md §8).
 */
export interface MasterKeyProvider {
  /** Stable name, kept in the keyring. */
  readonly id: string
  /** 32 fresh random bytes, plain and wrapped. */
  generate(context: WrapContext): Promise<GeneratedMaster>
  /** Throws whatever it likes; the vault reports `VK_PROVIDER` with that as the cause, or passes a `VaultError` on. */
  unwrap(wrapped: Uint8Array, context: WrapContext): Promise<Uint8Array>
  /** Wraps a master brought from elsewhere (an imported vault). */
  wrap?(plaintext: Uint8Array, context: WrapContext): Promise<Uint8Array>
  /** The same master under the provider's newest wrapping key. */
  rewrap?(wrapped: Uint8Array, context: WrapContext): Promise<Uint8Array>
  /** Which wrapping key is the newest, and since when (milliseconds since 1970). */
  describe?(): Promise<{ readonly currentWrapVersion: string; readonly rotatedAt: number }>
}
