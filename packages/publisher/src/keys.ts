import { ed25519PublicKey, ed25519Sign, printable, systemRandom, wipe } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import { KeystoreError } from '@keyturn/keystore'
import type { Keystore } from '@keyturn/keystore'
import { createKeystore, openKeystore } from '@keyturn/keystore/node'
import type { Signer } from '@keyturn/kel/owner'
import type { DocumentSigner } from '@keyturn/manifest/publish'

/** What a secret of a home is for; also decides how its public half is made. */
export type KeyKind =
  | 'identity'
  | 'release'
  | 'head'
  | 'archive-signing'
  | 'transport-identity'
  | 'content'
  | 'slot'
  | 'token'
  | 'server-vault'

const SIGNING: ReadonlySet<string> = new Set<KeyKind>([
  'identity',
  'release',
  'head',
  'archive-signing',
  'transport-identity',
])
/** An alias of these never stands for other bytes again: archives out there name it. */
const ONCE: ReadonlySet<string> = new Set<KeyKind>(['content', 'slot'])

/** How keystores of a home are made and opened. */
export interface KeysOptions {
  /** Default: the operating system's. */
  readonly random?: RandomSource | undefined
  readonly clock: Clock
  /** Cost of the passphrase, log2 of scrypt's N; default 17. Lower only in tests. */
  readonly scryptLogN?: number | undefined
  /** Keep the generation before each change beside the file; default true. False for files with a promised key. */
  readonly keepPrevious?: boolean | undefined
}

/** The secrets of a home: makes them, signs with them, lends them; none leaves by another door. */
export class Keys {
  readonly #store: Keystore
  readonly #options: KeysOptions

  private constructor(store: Keystore, options: KeysOptions) {
    this.#store = store
    this.#options = options
  }

  /** Creates a keystore file; it must not exist. */
  static async create(path: string, passphrase: Uint8Array, options: KeysOptions): Promise<Keys> {
    const { scryptLogN, keepPrevious = true } = options
    return new Keys(await createKeystore(path, passphrase, { keepPrevious, scryptLogN }), options)
  }

  /** Opens a keystore file; a wrong passphrase is said with the name of the file. */
  static async open(path: string, passphrase: Uint8Array, options: KeysOptions): Promise<Keys> {
    try {
      return new Keys(await openKeystore(path, passphrase, { keepPrevious: options.keepPrevious ?? true }), options)
    } catch (cause) {
      if (!(cause instanceof KeystoreError) || cause.code !== 'KEY_PASSPHRASE') throw cause
      throw new KeystoreError('KEY_PASSPHRASE', `The passphrase does not open "${printable(path)}"`, {
        cause,
        hint: 'Nothing was changed; type it again, or see which file --passphrase-file or --next-passphrase-file names',
      })
    }
  }

  /** The keystore below, for commands that manage it. */
  get store(): Keystore {
    return this.#store
  }

  /** Whether a secret of that name is there. */
  has(alias: string): boolean {
    return this.#store.list().some((entry) => entry.alias === alias)
  }

  /**
   * Makes a fresh 32-byte secret; one of that name that is already there is left as it is, so that an interrupted
   * rotation can be repeated.
   *
   * @returns The Ed25519 public key of a signing key, else undefined.
   */
  async make(alias: string, kind: KeyKind): Promise<Uint8Array | undefined> {
    if (this.has(alias)) return SIGNING.has(kind) ? await this.publicKey(alias) : undefined
    const secret = (this.#options.random ?? systemRandom)(32)
    try {
      return await this.add(alias, kind, secret)
    } finally {
      wipe(secret)
    }
  }

  /** As {@link make}, for a key that must sign. */
  async makeSigning(alias: string, kind: KeyKind): Promise<Uint8Array> {
    await this.make(alias, kind)
    return await this.publicKey(alias)
  }

  /** Keeps a secret that was made elsewhere. It is copied; the caller wipes its own. */
  async add(alias: string, kind: KeyKind, secret: Uint8Array): Promise<Uint8Array | undefined> {
    const publicKey = SIGNING.has(kind) ? ed25519PublicKey(secret) : undefined
    await this.#store.put(alias, {
      kind,
      secret,
      created: this.#options.clock(),
      once: ONCE.has(kind),
      ...(publicKey === undefined ? {} : { publicKey }),
    })
    return publicKey
  }

  /** The Ed25519 public key of a signing key. */
  async publicKey(alias: string): Promise<Uint8Array> {
    return await this.#store.withSecret(alias, (seed) => ed25519PublicKey(seed))
  }

  /** Lends a secret for the length of one call; `use` must neither keep nor change it. */
  async lend<T>(alias: string, use: (secret: Uint8Array) => T | Promise<T>): Promise<T> {
    return await this.#store.withSecret(alias, use)
  }

  /** Lends several secrets at once, in the order asked for. */
  async lendAll<T>(aliases: readonly string[], use: (secrets: readonly Uint8Array[]) => Promise<T>): Promise<T> {
    const [first, ...rest] = aliases
    if (first === undefined) return await use([])
    return await this.lend(first, (secret) => this.lendAll(rest, (others) => use([secret, ...others])))
  }

  /** Signs documents under one key without giving it away. */
  async documentSigner(alias: string): Promise<DocumentSigner> {
    const publicKey = await this.publicKey(alias)
    return { publicKey, sign: (message) => this.lend(alias, (seed) => ed25519Sign(seed, message)) }
  }

  /** Signs key events under one or several keys. */
  async eventSigner(aliases: readonly string[]): Promise<Signer> {
    const publicKeys = await Promise.all(aliases.map((alias) => this.publicKey(alias)))
    return {
      publicKeys,
      sign: (message, index) => this.lend(aliases[index] ?? '', (seed) => ed25519Sign(seed, message)),
    }
  }

  /** Wipes what is in memory. */
  async close(): Promise<void> {
    await this.#store.close()
  }
}
