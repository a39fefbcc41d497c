import { wipe } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import type { EnvelopeFormat } from '../envelope.ts'
import { checkUse } from '../key-state.ts'
import type { Keyring } from '../keyring.ts'
import { MAX_PARTITION_SHARD_BYTES } from '../limits.ts'
import type { PartitionSecretStore } from '../store.ts'
import { newPartitionSecret, unwrapPartitionSecret, wrapPartitionSecret } from './secret.ts'
import {
  countErased,
  deriveShardKeys,
  digestPartition,
  isErased,
  readShard,
  shardDocumentName,
  shardNames,
  writeShard,
} from './shard.ts'
import type { PartitionEntry, PartitionShard, ShardKeys } from './shard.ts'

/** What {@link PartitionSecrets} works with. */
export interface PartitionSecretParts {
  readonly store: PartitionSecretStore
  readonly keyring: Keyring
  /** The audit secret, lent. */
  readonly secret: Uint8Array
  readonly random: RandomSource
  readonly clock: Clock
  /** How long the absence of a secret is believed, in milliseconds. */
  readonly maxAgeMs: number
}

/** A shard as it was read: 'absent' is the revision of one that is not stored yet. */
interface ReadShard {
  readonly content: PartitionShard
  readonly revision: number | 'absent'
  readonly readAt: number
}

/** Shards kept in memory. */
const MAX_CACHED_SHARDS = 64
const MAX_TRIES = 16

/**
 * The random secrets of erasable partitions: made once, wrapped under the active master, wrapped again by the sweep
 * after a rotation, destroyed once and for all.
 */
export class PartitionSecrets {
  readonly #parts: PartitionSecretParts
  readonly #keys: ShardKeys
  readonly #shards = new Map<string, ReadShard>()
  /** Most erasures seen by shard: a document that counts fewer is an older copy. */
  readonly #seen = new Map<string, number>()

  /** @param parts - The secret is used for derivation here and now, and for hedging while the vault is open. */
  constructor(parts: PartitionSecretParts) {
    this.#parts = parts
    this.#keys = deriveShardKeys(parts.secret)
    parts.keyring.findPartitionSecret = (partition) => this.#unwrapped(partition)
  }

  /** Whether this vault has ever made a partition erasable; without, nothing is read. */
  get inUse(): boolean {
    return this.#parts.keyring.document.erasures !== undefined
  }

  /** How a record of this partition is to be sealed. @throws VaultError `VK_PARTITION_ERASED`. */
  async formatFor(partition: string): Promise<EnvelopeFormat> {
    if (!this.inUse) return 1
    const entry = await this.#entry(partition)
    if (entry === undefined) return 1
    if (isErased(entry)) throw erased()
    return 2
  }

  /** Whether a partition has a secret, had one, or never did. */
  async state(partition: string): Promise<'plain' | 'erasable' | 'erased'> {
    const entry = this.inUse ? await this.#entry(partition) : undefined
    if (entry === undefined) return 'plain'
    return isErased(entry) ? 'erased' : 'erasable'
  }

  /** Reads the shard of a partition again at the next use. */
  forget(partition: string): void {
    this.#shards.delete(this.#digest(partition).slice(0, 2))
  }

  /**
   * Makes the secret of a partition that has none.
   *
   * @returns Whether it was made now.
   * @throws VaultError `VK_PARTITION_ERASED`, `VK_VERSION_SUSPENDED`.
   */
  async make(partition: string): Promise<boolean> {
    const { keyring, secret, random, clock } = this.#parts
    const digest = this.#digest(partition)
    for (;;) {
      const shard = await this.#read(digest.slice(0, 2))
      const found = shard.content.entries.get(digest)
      if (found !== undefined && isErased(found)) throw erased()
      if (found !== undefined) return false
      const fresh = newPartitionSecret(secret, partition, clock(), random)
      try {
        const keyVersion = keyring.activeVersion
        const wrapped = await this.#wrap(fresh, digest, keyVersion)
        if (await this.#put(shard, digest, { madeAt: clock(), keyVersion, wrapped })) return true
      } finally {
        wipe(fresh)
      }
    }
  }

  /**
   * Destroys the secret of a partition. This cannot be undone.
   *
   * @returns The shard it was in, and how many erasures that counts now.
   */
  async destroy(partition: string): Promise<{ readonly shard: string; readonly erasures: number }> {
    const digest = this.#digest(partition)
    const name = digest.slice(0, 2)
    for (;;) {
      const shard = await this.#read(name)
      const found = shard.content.entries.get(digest)
      if (found === undefined) throw lost()
      if (isErased(found)) return { shard: name, erasures: countErased(shard.content) }
      const done = await this.#put(shard, digest, { madeAt: found.madeAt, erasedAt: this.#parts.clock() })
      this.#parts.keyring.forgetErasablePartitions()
      if (done) return { shard: name, erasures: countErased(shard.content) + 1 }
    }
  }

  /** Wraps every secret again under the active master; the sweep calls it. Returns how many were not under it. */
  async rewrap(): Promise<number> {
    if (!this.inUse) return 0
    let count = 0
    for (const name of shardNames) {
      for (let tries = 1; ; tries++) {
        const shard = await this.#read(name)
        const { entries, moved } = await this.#rewrapped(shard.content)
        if (moved === 0) break
        if (await this.#write(shard, entries)) {
          count += moved
          break
        }
        if (tries === MAX_TRIES) throw busy(name)
      }
    }
    return count
  }

  /** Secrets that are wrapped under a master: it must not go before them. */
  async countUnder(version: number): Promise<number> {
    if (!this.inUse) return 0
    let count = 0
    for (const name of shardNames) {
      const { content } = await this.#read(name)
      for (const entry of content.entries.values()) if (!isErased(entry) && entry.keyVersion === version) count += 1
    }
    return count
  }

  /** Rids the files of the store of old bytes, where the store can. */
  async forgetOverwritten(): Promise<void> {
    await this.#parts.store.forgetOverwritten?.()
  }

  /** Wipes the keys. */
  dispose(): void {
    wipe(this.#keys.digest, this.#keys.mac)
    this.#shards.clear()
  }

  #digest(partition: string): string {
    return digestPartition(this.#keys, partition)
  }

  /** Of the memory where it may be trusted: a secret until an erasure, the absence of one for `maxAgeMs`. */
  async #entry(partition: string): Promise<PartitionEntry | undefined> {
    const digest = this.#digest(partition)
    const name = digest.slice(0, 2)
    const cached = this.#shards.get(name)
    const known = this.#parts.keyring.document.erasures?.[name] ?? 0
    if (cached !== undefined && countErased(cached.content) >= known) {
      const found = cached.content.entries.get(digest)
      const ageMs = this.#parts.clock() - cached.readAt
      if (found !== undefined || (ageMs >= 0 && ageMs < this.#parts.maxAgeMs)) return found
    }
    return (await this.#read(name)).content.entries.get(digest)
  }

  async #unwrapped(partition: string): Promise<Uint8Array> {
    const { keyring } = this.#parts
    for (let tries = 1; ; tries++) {
      const entry = this.inUse ? await this.#entry(partition) : undefined
      if (entry === undefined) throw lost()
      if (isErased(entry)) throw erased()
      const { keyVersion, wrapped } = entry
      try {
        checkUse(keyVersion, keyring.entry(keyVersion)?.state ?? 'destroyed', 'sweep')
        return await keyring.withMaster(keyVersion, (master) =>
          unwrapPartitionSecret(master, wrapped, {
            vaultId: this.#vaultId,
            keyVersion,
            digest: this.#digest(partition),
          }),
        )
      } catch (error) {
        // The memory may be from before a rotation: the secret is under a newer master by now.
        if (tries > 1 || !(error instanceof VaultError) || !error.code.startsWith('VK_VERSION_')) throw error
        this.forget(partition)
      }
    }
  }

  get #vaultId(): string {
    return this.#parts.keyring.document.vaultId
  }

  async #wrap(secret: Uint8Array, digest: string, keyVersion: number): Promise<Uint8Array> {
    const binding = { vaultId: this.#vaultId, keyVersion, digest }
    return this.#parts.keyring.withMaster(keyVersion, (master) =>
      wrapPartitionSecret(master, secret, binding, this.#parts.random),
    )
  }

  async #rewrapped(shard: PartitionShard): Promise<{ entries: Map<string, PartitionEntry>; moved: number }> {
    const { keyring, random } = this.#parts
    const entries = new Map(shard.entries)
    const vaultId = this.#vaultId
    const to = keyring.activeVersion
    let moved = 0
    for (const [digest, entry] of shard.entries) {
      if (isErased(entry) || entry.keyVersion === to) continue
      if (keyring.entry(entry.keyVersion)?.state === 'suspended') continue // nothing is used until it is resumed
      const { keyVersion: from, wrapped: old } = entry
      const secret = await keyring.withMaster(from, (master) =>
        unwrapPartitionSecret(master, old, { vaultId, keyVersion: from, digest }),
      )
      try {
        const binding = { vaultId, keyVersion: to, digest }
        const wrapped = await keyring.withMaster(to, (master) => wrapPartitionSecret(master, secret, binding, random))
        entries.set(digest, { ...entry, keyVersion: to, wrapped })
      } finally {
        wipe(secret)
      }
      moved += 1
    }
    return { entries, moved }
  }

  /** Reads a shard from the store and refuses an older copy. @throws VaultError `VK_PARTITION_SECRET`. */
  async #read(name: string): Promise<ReadShard> {
    const { store, keyring, clock } = this.#parts
    const readAt = clock()
    const stored = await store.readDocument(shardDocumentName(name))
    const expected = { vaultId: this.#vaultId, shard: name }
    const content =
      stored === undefined ? { ...expected, entries: new Map() } : readShard(stored.bytes, expected, this.#keys)
    const count = countErased(content)
    const known = Math.max(keyring.document.erasures?.[name] ?? 0, this.#seen.get(name) ?? 0)
    if (count < known)
      throw new VaultError(
        'VK_PARTITION_SECRET',
        `The partition secrets "${name}" count ${count} erasures, ${known} were seen before`,
        { details: { shard: name }, hint: 'An older copy was put back. Restore the newest one' },
      )
    const shard = { content, revision: stored?.revision ?? ('absent' as const), readAt }
    this.#remember(name, shard, count)
    return shard
  }

  #remember(name: string, shard: ReadShard, erasures: number): void {
    this.#seen.set(name, erasures)
    this.#shards.delete(name)
    this.#shards.set(name, shard)
    if (this.#shards.size <= MAX_CACHED_SHARDS) return
    const [oldest] = this.#shards.keys()
    if (oldest !== undefined) this.#shards.delete(oldest)
  }

  async #put(shard: ReadShard, digest: string, entry: PartitionEntry): Promise<boolean> {
    return this.#write(shard, new Map(shard.content.entries).set(digest, entry))
  }

  /** `false` when another process was faster. */
  async #write(shard: ReadShard, entries: ReadonlyMap<string, PartitionEntry>): Promise<boolean> {
    const content = { ...shard.content, entries }
    const bytes = writeShard(content, this.#keys)
    if (bytes.length > MAX_PARTITION_SHARD_BYTES)
      throw new VaultError('VK_LIMIT', 'The vault has too many erasable partitions')
    const name = shardDocumentName(content.shard)
    this.#shards.delete(content.shard)
    try {
      await this.#parts.store.apply([], { name, bytes, expected: shard.revision })
      return true
    } catch (error) {
      if (error instanceof VaultError && error.code === 'VK_CONFLICT') return false
      throw error
    }
  }
}

/** The refusal of everything in a partition that was erased. */
export function erased(): VaultError {
  return new VaultError('VK_PARTITION_ERASED', 'The partition was erased: nothing in it opens any more')
}

function lost(): VaultError {
  return new VaultError('VK_PARTITION_SECRET', 'The partition has no secret, but the record was sealed with one')
}

function busy(name: string): VaultError {
  return new VaultError('VK_CONFLICT', `The partition secrets "${name}" are being changed by others all the time`)
}
