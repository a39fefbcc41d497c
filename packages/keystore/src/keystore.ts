import {
  equalBytes,
  requireMembers,
  systemClock,
  systemRandom,
  utf8Decode,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { Clock, RandomSource, SecretBytes } from '@keyturn/primitives'
import type { KeyState } from '@keyturn/vault-kdf'
import {
  newContents,
  nextContents,
  openRecord,
  readContents,
  rewrapContents,
  rotateMaster,
  writeContents,
} from './contents.ts'
import type { Contents, Sealer } from './contents.ts'
import { KeystoreDraft } from './draft.ts'
import type { EntryChange } from './draft.ts'
import type { IndexedEntry, NewSecret, SecretEntry } from './entry.ts'
import { KeystoreError } from './errors.ts'
import { kekOf, newKdf, openGenerations, requirePassphrase } from './generations.ts'
import type { KeystoreRecovery, OpenedKeystore, Passphrase } from './generations.ts'
import type { OverwriteOptions } from './overwrite.ts'
import type { KeystoreStorage } from './storage.ts'

/** Options of creating and opening a keystore. */
export interface KeystoreOptions {
  /** log₂ of scrypt's N for what is written; default 17. Lower it in tests only. */
  scryptLogN?: number | undefined
  /** Default: the system's. */
  random?: RandomSource | undefined
  /** Default: the system's. */
  clock?: Clock | undefined
}

/** Options of {@link Keystore.putText}. */
export interface PutTextOptions extends Partial<Omit<NewSecret, 'secret'>>, OverwriteOptions {}

/** One version of the keystore's own master. */
export interface MasterVersion {
  readonly version: number
  readonly state: KeyState
  readonly fingerprint: string
  /** When it became active; milliseconds since 1970. */
  readonly activated: number | undefined
}

/**
 * Named secrets in one encrypted file. Reading aliases needs no secret in memory; each secret is opened for the length
 * of one call and wiped. Every change is one atomic write; the generation before is kept.
 */
export class Keystore {
  readonly #storage: KeystoreStorage
  readonly #random: RandomSource
  readonly #clock: Clock
  readonly #scryptLogN: number | undefined
  #kek: SecretBytes
  #contents: Contents
  #lastGood: Uint8Array
  #recovery: KeystoreRecovery | undefined

  private constructor(storage: KeystoreStorage, options: KeystoreOptions, opened: OpenedKeystore) {
    this.#storage = storage
    this.#random = options.random ?? systemRandom
    this.#clock = options.clock ?? systemClock
    this.#scryptLogN = options.scryptLogN
    this.#kek = opened.kek
    this.#contents = opened.contents
    this.#lastGood = opened.bytes
    this.#recovery = opened.recovery
  }

  get #sealer(): Sealer {
    return { kek: this.#kek, random: this.#random }
  }

  /**
   * Makes a keystore where none is.
   *
   * @throws KeystoreError `KEY_EXISTS`, `KEY_IO`, `KEY_LOCKED`.
   */
  static async create(
    storage: KeystoreStorage,
    passphrase: Passphrase,
    options: KeystoreOptions = {},
  ): Promise<Keystore> {
    requireMembers(storage, 'storage', ['read', 'write', 'lock'])
    requirePassphrase(passphrase)
    const { random = systemRandom, clock = systemClock, scryptLogN } = options
    const unlock = await storage.lock()
    try {
      const { current, previous } = await storage.read()
      if (current !== undefined || previous !== undefined) {
        throw new KeystoreError('KEY_EXISTS', `There is a keystore already: ${storage.description}`)
      }
      const kdf = newKdf(passphrase, random, scryptLogN)
      const kek = kekOf(passphrase, kdf)
      const contents = newContents(kdf, kek, clock(), random)
      const bytes = writeContents(contents, kek)
      await storage.write(bytes, bytes)
      return new Keystore(storage, options, { kek, contents, bytes, recovery: undefined })
    } finally {
      await unlock()
    }
  }

  /**
   * Opens a keystore. When the file is missing or damaged the generation before it is opened and
   * {@link Keystore.recovery} says so; the next change puts the file right.
   *
   * @throws KeystoreError `KEY_NOT_FOUND`, `KEY_PASSPHRASE`, `KEY_DAMAGED`, `KEY_FORMAT`, `KEY_PERMISSION`, `KEY_IO`.
   */
  static async open(
    storage: KeystoreStorage,
    passphrase: Passphrase,
    options: KeystoreOptions = {},
  ): Promise<Keystore> {
    requireMembers(storage, 'storage', ['read', 'write', 'lock'])
    requirePassphrase(passphrase)
    return new Keystore(storage, options, await openGenerations(storage, passphrase))
  }

  /** Set when the generation before was opened in place of a missing or damaged file. */
  get recovery(): KeystoreRecovery | undefined {
    return this.#recovery
  }

  /** Number of the generation in memory; grows with each change. */
  get generation(): number {
    return this.#contents.generation
  }

  /** All entries, by alias. */
  list(): readonly SecretEntry[] {
    return [...this.#contents.index.entries.values()].map(publicEntry).toSorted((a, b) => (a.alias < b.alias ? -1 : 1))
  }

  /** Whether there is a secret of this alias. */
  has(alias: string): boolean {
    return this.#contents.index.entries.has(alias)
  }

  /** What is known of one secret. @throws KeystoreError `KEY_ALIAS_UNKNOWN`. */
  get(alias: string): SecretEntry {
    return publicEntry(this.#entry(alias))
  }

  /**
   * Lends one secret for the length of a call; its bytes are wiped when the call, or the promise it returns, has ended.
   * Neither keep nor modify them.
   *
   * @throws KeystoreError `KEY_ALIAS_UNKNOWN`, `KEY_DAMAGED`.
   * @example `const signature = await keystore.withSecret('release', (seed) => ed25519Sign(seed, message))`
   */
  async withSecret<T>(alias: string, use: (secret: Uint8Array) => T | Promise<T>): Promise<T> {
    this.#requireOpen()
    const secret = openRecord(this.#contents, this.#kek, this.#entry(alias).recordId)
    try {
      return await use(secret)
    } finally {
      wipe(secret)
    }
  }

  /**
   * Reads one secret as text. A string cannot be wiped: for keys {@link Keystore.withSecret} is the better call.
   *
   * @throws KeystoreError `KEY_ALIAS_UNKNOWN`, `KEY_DAMAGED`, `KEY_SECRET` when it is not UTF-8.
   */
  async readText(alias: string): Promise<string> {
    return this.withSecret(alias, (secret) => {
      try {
        return utf8Decode(secret)
      } catch (cause) {
        throw new KeystoreError('KEY_SECRET', `The secret "${alias}" is not text`, {
          cause,
          details: { alias },
          hint: 'Read it with withSecret()',
        })
      }
    })
  }

  /**
   * Keeps a text (a token, a URL) as a secret of kind `text`; {@link KeystoreDraft.put} on its own.
   *
   * @throws KeystoreError as {@link Keystore.put}; TypeError for a text that is not well-formed Unicode.
   */
  async putText(alias: string, text: string, options: PutTextOptions = {}): Promise<SecretEntry> {
    const { overwrite, replace, kind = 'text', ...beside } = options
    if (!text.isWellFormed()) throw new TypeError('The text has half a surrogate pair and would not be read back')
    const secret = utf8Encode(text)
    try {
      return await this.put(alias, { ...beside, kind, secret }, { overwrite, replace })
    } finally {
      wipe(secret)
    }
  }

  /**
   * Makes several changes as one: `edit` works on a draft, and all of it is written or nothing. Changes that another
   * process made in the meantime are loaded first.
   *
   * @throws What `edit` throws; KeystoreError `KEY_LOCKED`, `KEY_CHANGED`, `KEY_IO`.
   */
  async change<T>(edit: (draft: KeystoreDraft) => T): Promise<T> {
    return this.#locked(async () => {
      const draft = new KeystoreDraft(this.#contents.index, this.#clock, this.#random)
      try {
        const result = edit(draft)
        await this.#write(
          nextContents(this.#contents, { index: draft.index(), secrets: draft.secrets() }, this.#sealer),
          this.#kek,
        )
        return result
      } finally {
        draft.dispose()
      }
    })
  }

  /** Adds a secret: {@link KeystoreDraft.put} on its own. */
  async put(alias: string, secret: NewSecret, options: OverwriteOptions = {}): Promise<SecretEntry> {
    await this.change((draft) => draft.put(alias, secret, options))
    return this.get(alias)
  }

  /** Removes a secret: {@link KeystoreDraft.remove} on its own. */
  async remove(alias: string): Promise<void> {
    await this.change((draft) => draft.remove(alias))
  }

  /** Gives a secret another alias: {@link KeystoreDraft.rename} on its own. */
  async rename(from: string, to: string, options: OverwriteOptions = {}): Promise<void> {
    await this.change((draft) => draft.rename(from, to, options))
  }

  /** Changes what is kept beside a secret: {@link KeystoreDraft.update} on its own. */
  async update(alias: string, change: EntryChange): Promise<void> {
    await this.change((draft) => draft.update(alias, change))
  }

  /** The versions of the keystore's own master, oldest first; destroyed ones included. */
  masters(): readonly MasterVersion[] {
    return this.#contents.keyring.entries.map(({ version, state, fingerprint, history }) => ({
      version,
      state,
      fingerprint,
      activated: history.find((step) => step.state === 'active')?.at,
    }))
  }

  /**
   * Rotates the keystore's own master key (`keyturn rotate vault`): everything is sealed again under a fresh version
   * and the old one is destroyed, in the kept generation too.
   */
  async rotateMaster(): Promise<MasterVersion> {
    await this.#locked(async () => {
      await this.#write(rotateMaster(this.#contents, this.#clock(), this.#sealer), this.#kek, 'both generations')
    })
    const master = this.masters().find(({ state }) => state === 'active')
    if (master === undefined) throw new KeystoreError('KEY_DAMAGED', 'The keystore has no active key version')
    return master
  }

  /** Puts the keystore under another passphrase, in the kept generation too. */
  async changePassphrase(passphrase: Passphrase): Promise<void> {
    await this.#locked(async () => {
      const kdf = newKdf(passphrase, this.#random, this.#scryptLogN)
      const kek = kekOf(passphrase, kdf)
      const contents = rewrapContents(this.#contents, this.#kek, { kdf, kek, random: this.#random })
      await this.#write(contents, kek, 'both generations')
      this.#kek.dispose()
      this.#kek = kek
    })
  }

  /** Writes the open generation in place of a missing or damaged file. Does nothing when there was no recovery. */
  async repair(): Promise<void> {
    if (this.#recovery !== undefined) await this.change(() => undefined)
  }

  /** Wipes the key; the object can no longer open secrets. May be called again. */
  close(): void {
    this.#kek.dispose()
  }

  /** {@link Keystore.close} for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  #entry(alias: string): IndexedEntry {
    const entry = this.#contents.index.entries.get(alias)
    if (entry !== undefined) return entry
    throw new KeystoreError('KEY_ALIAS_UNKNOWN', `The keystore holds no "${alias}"`, { details: { alias } })
  }

  #requireOpen(): void {
    if (this.#kek.disposed) throw new TypeError('The keystore is closed')
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    this.#requireOpen()
    const unlock = await this.#storage.lock()
    try {
      await this.#refresh()
      return await work()
    } finally {
      await unlock()
    }
  }

  /** Loads what another process has written since. */
  async #refresh(): Promise<void> {
    const { current } = await this.#storage.read()
    if (current === undefined || equalBytes(current, this.#lastGood) || this.#recovery !== undefined) return
    try {
      this.#contents = readContents(current, this.#kek)
      this.#lastGood = current
    } catch (cause) {
      if (cause instanceof KeystoreError && cause.code === 'KEY_PASSPHRASE') {
        throw new KeystoreError('KEY_CHANGED', 'The passphrase of the keystore was changed by another process', {
          cause,
        })
      }
      throw cause
    }
  }

  async #write(
    contents: Contents,
    kek: SecretBytes,
    keep: 'the last one' | 'both generations' = 'the last one',
  ): Promise<void> {
    const bytes = writeContents(contents, kek)
    await this.#storage.write(bytes, this.#lastGood)
    this.#contents = contents
    this.#lastGood = bytes
    this.#recovery = undefined
    if (keep === 'both generations') await this.#storage.write(bytes, bytes)
  }
}

function publicEntry({ recordId: _internal, ...entry }: IndexedEntry): SecretEntry {
  return entry
}
