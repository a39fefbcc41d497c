import { hmacSha256, isStrongEd25519PublicKey, SecretBytes, utf8Encode, wipe } from '@keyturn/primitives'
import { RuntimeKeyError } from './errors.ts'
import { secretCopy } from './secret-copy.ts'

/** Greatest `key_id`; 0 is reserved for "none". */
export const MAX_KEY_ID = 0xffff_ffff
/** Bytes of a content key and of a verifier. */
export const KEY_LENGTH = 32

const COMMITMENT_LABEL = utf8Encode('m2pack key commitment v1')
const inspect = Symbol.for('nodejs.util.inspect.custom')

/** What a {@link RuntimeKey} is made of. */
export interface RuntimeKeyParts {
  /** Integer, 1 to 2^32 - 1. */
  readonly keyId: number
  /** 32 bytes, secret. */
  readonly masterKey: Uint8Array
  /** Ed25519 verifier of the archives; absent when the client embeds its verifiers. */
  readonly signPublicKey?: Uint8Array | undefined
}

/**
 * The one owner of a content key on its way to a client. Prints as `[redacted]`, lends the key by
 * {@link RuntimeKey.withBytes}, wipes it on {@link RuntimeKey.dispose}.
 */
export class RuntimeKey {
  /** The `key_id` of the archives this key opens. */
  readonly keyId: number
  readonly #key: SecretBytes
  readonly #signPublicKey: Uint8Array | undefined

  private constructor(keyId: number, key: SecretBytes, signPublicKey: Uint8Array | undefined) {
    this.keyId = keyId
    this.#key = key
    this.#signPublicKey = signPublicKey
  }

  /**
   * Takes the key into a holder.
   *
   * @param parts - `masterKey` is copied and then wiped, also when this throws: the holder is its one owner.
   * @throws {@link RuntimeKeyError} `RK_KEY_ID`, `RK_ENCODING` (length), `RK_WEAK`, `RK_KEY_INVALID`.
   * @example `const key = RuntimeKey.take({ keyId: 4, masterKey, signPublicKey })`
   */
  static take(parts: RuntimeKeyParts): RuntimeKey {
    const { keyId, masterKey, signPublicKey } = parts
    try {
      assertKeyId(keyId)
      if (masterKey.length !== KEY_LENGTH) {
        throw new RuntimeKeyError('RK_ENCODING', `Content key has ${masterKey.length} bytes, wanted ${KEY_LENGTH}`)
      }
      if (masterKey.every((byte) => byte === 0)) throw new RuntimeKeyError('RK_WEAK', 'Content key is all zero')
      if (signPublicKey !== undefined) assertVerifier(signPublicKey)
      return new RuntimeKey(keyId, SecretBytes.take(secretCopy(masterKey)), signPublicKey?.slice())
    } finally {
      wipe(masterKey)
    }
  }

  /** A copy of the verifier that came with the key, if one did. */
  get signPublicKey(): Uint8Array | undefined {
    return this.#signPublicKey?.slice()
  }

  /**
   * Lends the 32-byte key for the length of one call.
   *
   * @param use - Must neither keep nor change the bytes.
   * @returns What `use` returns.
   */
  withBytes<T>(use: (key: Uint8Array) => T): T {
    return this.#key.withBytes(use)
  }

  /** Wipes the key. Further use throws; calling it again does nothing. */
  dispose(): void {
    this.#key.dispose()
  }

  /** Lets `using` wipe the key at the end of a block. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @returns `[redacted]` */
  toString(): string {
    return '[redacted]'
  }

  /** @returns `[redacted]` */
  toJSON(): string {
    return '[redacted]'
  }

  /** @returns `[redacted]`, for `console.log` and `util.inspect`. */
  [inspect](): string {
    return `RuntimeKey { keyId: ${this.keyId}, [redacted] }`
  }
}

/**
 * The key commitment an archive header and the manifest carry: HMAC-SHA-256 of label and `key_id` under the
 * content key, docs/spec/runtime-key.md §4.
 *
 * @returns 32 bytes, public.
 */
export function keyCommitment(runtimeKey: RuntimeKey): Uint8Array {
  const keyId = new Uint8Array(4)
  new DataView(keyId.buffer).setUint32(0, runtimeKey.keyId, true)
  return runtimeKey.withBytes((key) => hmacSha256(key, COMMITMENT_LABEL, keyId))
}

/**
 * Refuses what is no `key_id`.
 *
 * @throws {@link RuntimeKeyError} `RK_KEY_ID`.
 */
export function assertKeyId(keyId: unknown): asserts keyId is number {
  if (typeof keyId !== 'number' || !Number.isInteger(keyId) || keyId < 1 || keyId > MAX_KEY_ID) {
    throw new RuntimeKeyError('RK_KEY_ID', `key_id is not an integer from 1 to ${MAX_KEY_ID}`)
  }
}

/** Refuses a verifier no signature check would ever accept, or one that accepts too much (low order). */
function assertVerifier(signPublicKey: Uint8Array): void {
  if (signPublicKey.length !== KEY_LENGTH) {
    throw new RuntimeKeyError('RK_ENCODING', `Verifier has ${signPublicKey.length} bytes, wanted ${KEY_LENGTH}`)
  }
  if (!isStrongEd25519PublicKey(signPublicKey)) {
    throw new RuntimeKeyError('RK_KEY_INVALID', 'Verifier is not a canonical Ed25519 public key of full order')
  }
}
