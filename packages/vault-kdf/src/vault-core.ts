import { systemClock, systemRandom, wipe } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import type { AuditLog } from './audit/log.ts'
import { parseEnvelopeHeader, sealEnvelope } from './envelope.ts'
import { PartitionSecrets } from './erasable/partition-secrets.ts'
import { VaultError, closed } from './errors.ts'
import type { KeyUse } from './key-state.ts'
import type { Keyring } from './keyring.ts'
import { labels } from './labels.ts'
import { utf8 } from './length-prefixed.ts'
import { openRecord } from './open-record.ts'
import type { OpenedRecord, ProfileMemory } from './open-record.ts'
import type { LayerContext, Place, RecordId } from './place.ts'
import type { VaultPolicy } from './policy.ts'
import { checkNotRolledBack, keyringDocumentName } from './rolled-back.ts'
import { Salts } from './salts.ts'
import { openSidecar, sealSidecar, sidecarVersion } from './sidecar.ts'
import { meetsExpectation } from './store.ts'
import type { Expected, PartitionSecretStore, StoredRecord, VaultRecord, VaultStore } from './store.ts'

/** Turns a token into the ids that gated layers need. */
export interface TokenResolver {
  /** Throws when the token is not good; the error is passed on as it is. */
  resolve(token: string): LayerContext | Promise<LayerContext>
  /** The ids of one record for the sweep, or `undefined` when it may not have them. */
  resolveForSweep?(id: RecordId, layer: 1 | 2): LayerContext | undefined | Promise<LayerContext | undefined>
}

/** How the sweep comes by the ids of a gated layer: kept beside the record, asked of the resolver, or not at all. */
export type GatedAccess = 'sidecar' | 'resolver' | 'lazy'

/** {@link GatedAccess} by layer. */
export interface GatedPolicy {
  /** Layer 1; default `sidecar`. */
  readonly access: GatedAccess
  /** Layer 2; default `lazy`: resealed by its readers, or gone when it expires. */
  readonly session: GatedAccess
}

/** What a partition does when nothing else is said. */
export const defaultGatedPolicy: GatedPolicy = { access: 'sidecar', session: 'lazy' }

/** How long a process may go on with the keyring it has, when nothing else is said. */
export const DEFAULT_MAX_KEYRING_AGE_MS = 5_000

const maxStaleTries = 8

/** What the handles of one vault share. */
export interface VaultParts {
  readonly store: VaultStore
  readonly keyring: Keyring
  readonly audit: AuditLog
  /** The audit secret, lent: what hedges the salts is derived from it. */
  readonly secret: Uint8Array
  readonly resolver: TokenResolver | undefined
  readonly gated: ((partition: string) => GatedPolicy) | undefined
  readonly random: RandomSource | undefined
  readonly clock: Clock | undefined
  /** Lazy reseals per second; 0 switches them off. */
  readonly lazyResealsPerSecond: number
  /** How old the keyring may be when it is used. */
  readonly maxKeyringAgeMs: number
  /** What rotations, destructions and erasures are held to. */
  readonly policy: VaultPolicy | undefined
  /** Where the secrets of erasable partitions are; default the store itself. */
  readonly partitionSecrets: PartitionSecretStore | undefined
}

/** The operations below the handles: seal, open, write, each with a fresh look at the keyring. */
export class VaultCore {
  readonly store: VaultStore
  readonly keyring: Keyring
  readonly audit: AuditLog
  readonly clock: Clock
  readonly random: RandomSource
  readonly secrets: PartitionSecrets
  readonly policy: VaultPolicy | undefined
  readonly #resolver: TokenResolver | undefined
  readonly #gated: (partition: string) => GatedPolicy
  readonly #salts: Salts
  readonly #profiles: ProfileMemory = new Map()
  readonly #pending = new Set<Promise<void>>()
  readonly #lazyPerSecond: number
  readonly #maxAgeMs: number
  #lookedAt: number
  #looking: Promise<unknown> | undefined
  #closed = false
  #lazyWindow = { second: 0, count: 0 }
  #failedWindow = { minute: 0, count: 0 }

  constructor(parts: VaultParts) {
    this.store = parts.store
    this.keyring = parts.keyring
    this.audit = parts.audit
    this.policy = parts.policy
    this.clock = parts.clock ?? systemClock
    this.random = parts.random ?? systemRandom
    this.#resolver = parts.resolver
    this.#gated = parts.gated ?? (() => defaultGatedPolicy)
    this.#salts = new Salts(this.random, parts.secret)
    this.#lazyPerSecond = parts.lazyResealsPerSecond
    if (!(parts.maxKeyringAgeMs >= 0))
      throw new RangeError(`maxKeyringAgeMs must be a number from 0 up, got ${parts.maxKeyringAgeMs}`)
    this.#maxAgeMs = parts.maxKeyringAgeMs
    this.#lookedAt = this.clock()
    this.secrets = new PartitionSecrets({
      store: parts.partitionSecrets ?? parts.store,
      keyring: parts.keyring,
      secret: parts.secret,
      random: this.random,
      clock: this.clock,
      maxAgeMs: this.#maxAgeMs,
    })
  }

  /**
   * Refuses what comes after {@link VaultCore.close}.
   *
   * @throws VaultError `VK_CLOSED`.
   */
  checkOpen(): void {
    if (this.#closed) throw closed()
  }

  /** Refuses new work, lets background reseals end, then wipes all keys. */
  async close(): Promise<void> {
    this.#closed = true
    await this.settle()
    this.keyring.dispose()
    this.audit.dispose()
    this.#salts.dispose()
    this.secrets.dispose()
  }

  /** The ids a token stands for; none without a token. */
  async context(token: string | undefined): Promise<LayerContext> {
    this.checkOpen()
    if (token === undefined) return {}
    if (this.#resolver === undefined) throw new TypeError('A token was given, but the vault has no resolver')
    return this.#resolver.resolve(token)
  }

  /** Takes in the keyring of the store. Returns whether it was newer. */
  async reloadKeyring(): Promise<boolean> {
    this.checkOpen()
    return this.#reload()
  }

  async #reload(): Promise<boolean> {
    const now = this.clock() // before the read: what is written meanwhile must not count as seen
    const document = await this.store.readDocument(keyringDocumentName)
    if (document === undefined) throw new VaultError('VK_KEYRING', 'The store has lost its keyring')
    const newer = await this.keyring.accept(document.bytes)
    this.#lookedAt = now
    return newer
  }

  /** Refuses a keyring that is older than fence, census or audit chain. @throws VaultError `VK_KEYRING`. */
  async checkNotRolledBack(): Promise<void> {
    await checkNotRolledBack(this.store, this.keyring, this.audit)
  }

  /**
   * Reads the keyring again when it is older than `maxKeyringAgeMs`: what another process did to a version holds here
   * from then on. A clock that was set back counts as old.
   */
  async #fresh(): Promise<void> {
    this.keyring.checkOpen()
    const ageMs = this.clock() - this.#lookedAt
    if (ageMs >= 0 && ageMs < this.#maxAgeMs) return
    // With 0 nobody may share a read that began before their own use.
    if (this.#maxAgeMs === 0) return void (await this.#reload())
    this.#looking ??= this.#reload().finally(() => {
      this.#looking = undefined
    })
    await this.#looking
  }

  /** Seals under the active version. */
  async seal(place: Place, plaintext: Uint8Array, expiresAt?: number): Promise<VaultRecord> {
    await this.#fresh()
    const version = this.keyring.activeVersion
    const { partition, cell, name, layer } = place
    const needsSidecar = layer > 0 && this.gatedAccess(partition, layer) === 'sidecar'
    const format = this.secrets.inUse ? await this.secrets.formatFor(partition) : 1
    return this.keyring.withPartitionKey({ version, partition, format }, 'seal', (key) => ({
      partition,
      cell,
      name,
      layer,
      format: 'v1' as const,
      keyVersion: version,
      envelope: sealEnvelope(key, place, plaintext, {
        keyVersion: version,
        format,
        salt: this.#salts.next({ place, keyVersion: version, plaintext }),
      }),
      ...(needsSidecar ? { sidecar: sealSidecar(key, version, place, this.random) } : {}),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    }))
  }

  /** How the sweep comes by the ids of this layer. */
  gatedAccess(partition: string, layer: number): GatedAccess {
    const policy = this.#gated(partition)
    return layer === 1 ? policy.access : policy.session
  }

  /** Opens a record; see {@link openRecord}. */
  async open(record: VaultRecord, context: LayerContext, use: Exclude<KeyUse, 'seal'>): Promise<OpenedRecord> {
    await this.#fresh()
    await this.#checkNotErased(record.partition)
    return openRecord(this.keyring, record, context, { use, memory: this.#profiles })
  }

  /** What was sealed before a partition got its secret is refused too once it was erased: it came from a backup. */
  async #checkNotErased(partition: string): Promise<void> {
    if (this.secrets.inUse) await this.secrets.formatFor(partition)
  }

  /** The ids of a gated record for the sweep; `undefined` when it cannot have them. */
  async sweepContext(record: VaultRecord): Promise<LayerContext | undefined> {
    const { layer, sidecar } = record
    if (layer === 0) return {}
    if (sidecar !== undefined) {
      await this.#fresh()
      const format = parseEnvelopeHeader(record.envelope)?.format ?? 1
      const wanted = { version: sidecarVersion(sidecar), partition: record.partition, format }
      return this.keyring.withPartitionKey(wanted, 'sweep', (key) => openSidecar(key, record, sidecar))
    }
    if (this.gatedAccess(record.partition, layer) !== 'resolver') return undefined
    return this.#resolver?.resolveForSweep?.(record, layer)
  }

  /**
   * Seals and writes, and once more when the key was turned in between.
   *
   * @throws VaultError `VK_CONFLICT`, `VK_STALE_WRITER`.
   */
  async write(place: Place, plaintext: Uint8Array, expected: Expected, expiresAt?: number): Promise<VaultRecord> {
    for (let tries = 1; ; tries++) {
      const record = await this.#sealFresh(place, plaintext, expiresAt)
      const [outcome] = record === undefined ? ['stale'] : await this.store.apply([{ put: record, expected }])
      if (record !== undefined && outcome === 'done') return record
      if (outcome === 'conflict')
        throw new VaultError('VK_CONFLICT', `Record "${place.name}" was changed by somebody else`)
      if (tries === maxStaleTries)
        throw new VaultError(
          'VK_STALE_WRITER',
          `The active key version changed ${tries} times while "${place.name}" was written`,
        )
      await this.#reload()
    }
  }

  /** Refuses early what {@link VaultCore.write} would refuse later. @throws VaultError `VK_CONFLICT`. */
  async checkWritable(place: Place, expected: Expected): Promise<void> {
    this.checkOpen()
    const found = await this.store.get(place)
    if (meetsExpectation(expected, found?.revision)) return
    throw new VaultError('VK_CONFLICT', `Record "${place.name}" was changed by somebody else`)
  }

  /** 32 bytes for one stream, hedged by its place and the time: its content is not known when they are needed. */
  streamSecret({ partition, cell, name }: Place): Uint8Array {
    const bytes = [labels.streamSecret, partition, cell, name, String(this.clock())].map(utf8)
    return this.#salts.secret(...bytes)
  }

  /** 32 bytes for one generation of a blind index. */
  blindIndexSecret({ partition, name }: RecordId): Uint8Array {
    return this.#salts.secret(...[labels.blindIndexSecret, partition, name, String(this.clock())].map(utf8))
  }

  /** `undefined` when the version stopped being active between the look and the seal. */
  async #sealFresh(place: Place, plaintext: Uint8Array, expiresAt?: number): Promise<VaultRecord | undefined> {
    try {
      return await this.seal(place, plaintext, expiresAt)
    } catch (error) {
      if (error instanceof VaultError && error.code === 'VK_STALE_WRITER') return undefined
      throw error
    }
  }

  /**
   * Reads and opens. When the version is not to be had the keyring and the record are loaded again: the key may have
   * been staged, or the record swept, since.
   */
  async read(id: RecordId, context: LayerContext): Promise<{ record: StoredRecord; opened: OpenedRecord }> {
    const record = await this.#find(id)
    try {
      return { record, opened: await this.open(record, context, 'open') }
    } catch (error) {
      if (!(error instanceof VaultError) || !error.code.startsWith('VK_VERSION_')) return this.#failed(record, error)
      const newer = await this.#reload()
      const again = await this.#find(id)
      if (!newer && again.revision === record.revision) return this.#failed(record, error)
      return { record: again, opened: await this.open(again, context, 'open') }
    }
  }

  async #find(id: RecordId): Promise<StoredRecord> {
    const record = await this.store.get(id)
    if (record !== undefined && (record.expiresAt === undefined || record.expiresAt > this.clock())) return record
    throw new VaultError('VK_NOT_FOUND', `There is no record "${id.name}" in cell "${id.cell}"`)
  }

  /** Writes failures down, at most 60 a minute: a flood of them must not fill the chain. */
  async #failed(record: StoredRecord, error: unknown): Promise<never> {
    const minute = Math.floor(this.clock() / 60_000)
    if (this.#failedWindow.minute !== minute) this.#failedWindow = { minute, count: 0 }
    this.#failedWindow.count += 1
    if (this.#failedWindow.count <= 60 && error instanceof VaultError) {
      const type = error.code === 'VK_VERSION_COMPROMISED' ? 'compromised_read' : 'open_failed'
      const { partition, cell, name, layer, keyVersion } = record
      await this.audit.append({
        type,
        outcome: 'failed',
        partition,
        cell,
        name,
        layer,
        fromVersion: keyVersion,
        details: { code: error.code },
      })
    }
    throw error
  }

  /** After a read of old bytes: seals them under the active version in the background, some per second. */
  lazyReseal(record: StoredRecord, context: LayerContext, opened: OpenedRecord): void {
    const second = Math.floor(this.clock() / 1000)
    if (this.#lazyWindow.second !== second) this.#lazyWindow = { second, count: 0 }
    if (this.#lazyWindow.count >= this.#lazyPerSecond) return
    this.#lazyWindow.count += 1
    const plaintext = opened.plaintext.slice()
    const work = this.reseal(record, context, plaintext)
      .then(
        () => undefined,
        () => undefined,
      ) // the read has succeeded; the sweep will meet the record again
      .finally(() => {
        wipe(plaintext)
        this.#pending.delete(work)
      })
    this.#pending.add(work)
  }

  /** Seals a record again in its place; a writer who was faster wins. */
  async reseal(record: StoredRecord, context: LayerContext, plaintext: Uint8Array): Promise<'resealed' | 'superseded'> {
    const fresh = await this.seal({ ...record, context }, plaintext, record.expiresAt)
    const [outcome] = await this.store.apply([{ put: fresh, expected: record.revision }])
    if (outcome !== 'done') return 'superseded'
    const { partition, cell, name, layer, keyVersion } = record
    await this.audit.append({
      type: 'reseal',
      outcome: 'done',
      partition,
      cell,
      name,
      layer,
      fromVersion: keyVersion,
      toVersion: fresh.keyVersion,
    })
    return 'resealed'
  }

  /** Waits for background reseals. */
  async settle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }
}
