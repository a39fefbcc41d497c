import { wipe } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import { checkAlias } from './alias.ts'
import { newRecordId } from './contents.ts'
import { checkSecret, secretFingerprint } from './entry.ts'
import type { IndexedEntry, KeystoreIndex, NewSecret, SecretEntry, Tombstone } from './entry.ts'
import { KeystoreError } from './errors.ts'
import { MAX_ENTRIES } from './limits.ts'
import { mayOverwrite } from './overwrite.ts'
import type { OverwriteOptions } from './overwrite.ts'

/** What stays with an alias when its secret changes. */
function rulesOf(of: Pick<NewSecret, 'policy' | 'note'> | undefined): Pick<NewSecret, 'policy' | 'note'> {
  const { policy, note } = of ?? {}
  return { ...(policy === undefined ? {} : { policy }), ...(note === undefined ? {} : { note }) }
}

/** Members of an entry that change without its secret. */
export type EntryChange = Partial<Pick<SecretEntry, 'policy' | 'note' | 'created' | 'rotated'>>

/** Several changes that are written together or not at all; see {@link Keystore.change}. */
export class KeystoreDraft {
  readonly #entries: Map<string, IndexedEntry>
  readonly #tombstones: Map<string, Tombstone>
  readonly #secrets = new Map<string, Uint8Array>()
  readonly #clock: Clock
  readonly #random: RandomSource

  /** Made by {@link Keystore.change}. */
  constructor(index: KeystoreIndex, clock: Clock, random: RandomSource) {
    this.#entries = new Map(index.entries)
    this.#tombstones = new Map(index.tombstones)
    this.#clock = clock
    this.#random = random
  }

  /** The entry of an alias as the draft stands. @throws KeystoreError `KEY_ALIAS_UNKNOWN`. */
  get(alias: string): SecretEntry {
    return this.#entry(alias)
  }

  /** Whether the draft has this alias. */
  has(alias: string): boolean {
    return this.#entries.has(alias)
  }

  /**
   * Adds a secret; with `overwrite` an existing alias gets another one, keeps its creation date, rule and note, and is
   * marked as rotated. A secret with a `created` date of its own is taken with nothing of the one before.
   *
   * @throws KeystoreError `KEY_ALIAS`, `KEY_ALIAS_EXISTS`, `KEY_ID_REUSED`, `KEY_SECRET`.
   */
  put(alias: string, secret: NewSecret, options: OverwriteOptions = {}): void {
    checkAlias(alias)
    checkSecret(secret)
    const fingerprint = secretFingerprint(secret)
    const old = this.#entries.get(alias)
    this.#checkOnce(alias, fingerprint, old)
    if (old !== undefined && !mayOverwrite(options)) {
      throw new KeystoreError('KEY_ALIAS_EXISTS', `The keystore already holds "${alias}"`, { details: { alias } })
    }
    if (this.#entries.size >= MAX_ENTRIES)
      throw new KeystoreError('KEY_SECRET', `A keystore holds at most ${MAX_ENTRIES} secrets`)
    const recordId = newRecordId(this.#random)
    this.#secrets.set(recordId, new Uint8Array(secret.secret))
    if (old !== undefined) this.#forgetSecret(old.recordId)
    this.#entries.set(alias, this.#newEntry(secret, { alias, fingerprint, recordId, old }))
  }

  #newEntry(
    secret: NewSecret,
    place: Pick<IndexedEntry, 'alias' | 'fingerprint' | 'recordId'> & { readonly old: IndexedEntry | undefined },
  ): IndexedEntry {
    const { alias, fingerprint, recordId, old } = place
    const { kind, publicKey, created, rotated, once = false } = secret
    // What brings its own dates was kept elsewhere, and is taken as it was there.
    const { policy, note } = created === undefined ? { ...rulesOf(old), ...rulesOf(secret) } : secret
    const now = this.#clock()
    const rotatedAt = rotated ?? (old === undefined ? undefined : now)
    return {
      alias,
      kind,
      fingerprint,
      recordId,
      once,
      created: created ?? old?.created ?? now,
      ...(publicKey === undefined ? {} : { publicKey: new Uint8Array(publicKey) }),
      ...(rotatedAt === undefined ? {} : { rotated: rotatedAt }),
      ...(policy === undefined ? {} : { policy }),
      ...(note === undefined ? {} : { note }),
    }
  }

  /** An alias that names a key forever is never given to another secret: not by replacing, not after removal. */
  #checkOnce(alias: string, fingerprint: string, old: IndexedEntry | undefined): void {
    const taken = this.#tombstones.get(alias)?.fingerprint ?? (old?.once === true ? old.fingerprint : undefined)
    if (taken === undefined || taken === fingerprint) return
    throw new KeystoreError('KEY_ID_REUSED', `"${alias}" named the key ${taken} before and cannot name another`, {
      details: { alias, fingerprint: taken },
    })
  }

  /** Removes a secret; a `once` alias leaves a tombstone. @throws KeystoreError `KEY_ALIAS_UNKNOWN`. */
  remove(alias: string): void {
    const { recordId, once, fingerprint } = this.#entry(alias)
    if (once) this.#tombstones.set(alias, { alias, fingerprint, removed: this.#clock() })
    this.#forgetSecret(recordId)
    this.#entries.delete(alias)
  }

  /**
   * Gives a secret another alias.
   *
   * @param options - `overwrite`: the target's present secret is removed, as when `<alias>--next-<n>` becomes `<alias>`.
   * @throws KeystoreError `KEY_ALIAS_UNKNOWN`, `KEY_ALIAS_EXISTS`, `KEY_ALIAS`, `KEY_ID_REUSED`.
   */
  rename(from: string, to: string, options: OverwriteOptions = {}): void {
    checkAlias(to)
    const entry = this.#entry(from)
    const old = this.#entries.get(to)
    this.#checkOnce(to, entry.fingerprint, old)
    if (old !== undefined && !mayOverwrite(options)) {
      throw new KeystoreError('KEY_ALIAS_EXISTS', `The keystore already holds "${to}"`, { details: { alias: to } })
    }
    if (entry.once) this.#tombstones.set(from, { alias: from, fingerprint: entry.fingerprint, removed: this.#clock() })
    if (old !== undefined) this.#forgetSecret(old.recordId)
    this.#entries.delete(from)
    this.#entries.set(to, {
      ...entry,
      alias: to,
      ...(old === undefined ? {} : { created: old.created, rotated: this.#clock() }),
    })
  }

  /** Changes what is kept beside a secret. @throws KeystoreError `KEY_ALIAS_UNKNOWN`. */
  update(alias: string, change: EntryChange): void {
    this.#entries.set(alias, { ...this.#entry(alias), ...change })
  }

  #entry(alias: string): IndexedEntry {
    const entry = this.#entries.get(alias)
    if (entry !== undefined) return entry
    throw new KeystoreError('KEY_ALIAS_UNKNOWN', `The keystore holds no "${alias}"`, { details: { alias } })
  }

  #forgetSecret(recordId: string): void {
    wipe(this.#secrets.get(recordId))
    this.#secrets.delete(recordId)
  }

  /** The index as it stands. @internal */
  index(): KeystoreIndex {
    return { entries: this.#entries, tombstones: this.#tombstones }
  }

  /** Fresh secrets by record id; wiped by {@link KeystoreDraft.dispose}. @internal */
  secrets(): ReadonlyMap<string, Uint8Array> {
    return this.#secrets
  }

  /** Wipes the fresh secrets. @internal */
  dispose(): void {
    for (const secret of this.#secrets.values()) wipe(secret)
    this.#secrets.clear()
  }
}
