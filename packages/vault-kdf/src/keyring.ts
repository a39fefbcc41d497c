import { SecretBytes, systemClock, wipe } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { checkMasterKey, deriveErasablePartitionKey, derivePartitionKey } from './derive.ts'
import type { PartitionKey } from './derive.ts'
import type { EnvelopeFormat } from './envelope.ts'
import { VaultError, closed } from './errors.ts'
import { checkUse } from './key-state.ts'
import type { KeyUse } from './key-state.ts'
import { parseKeyringDocument, writeKeyringDocument } from './keyring-document.ts'
import type { KeyringDocument, KeyringEntry } from './keyring-document.ts'
import type { MasterKeyProvider, WrapContext } from './master-key-provider.ts'
import { activeVersion } from './transitions.ts'

/** Options of {@link Keyring}. */
export interface KeyringOptions {
  /** How long an unwrapped master is kept; default 1 hour. During an outage of the provider reads go on until then. */
  masterTtlMs?: number | undefined
  /** Partition keys kept; default 256. */
  maxPartitionKeys?: number | undefined
  clock?: Clock | undefined
}

/** Which partition key is wanted. */
export interface PartitionKeyName {
  readonly version: number
  readonly partition: string
  /** Of the envelope: 2 where the secret of the partition goes into the key. */
  readonly format: EnvelopeFormat
}

interface CachedMaster {
  readonly secret: SecretBytes
  readonly until: number
}

/**
 * The masters of one vault: the document says what may be done with each version, the provider unwraps them when they
 * are needed, and a bounded cache holds what was derived. Handles keep no keys: they ask per operation, so that a turn
 * takes effect at once.
 */
export class Keyring {
  readonly #provider: MasterKeyProvider
  readonly #ttlMs: number
  readonly #maxPartitionKeys: number
  readonly #clock: Clock
  readonly #masters = new Map<number, CachedMaster>()
  readonly #partitionKeys = new Map<string, PartitionKey>()
  #closed = false
  #entries = new Map<number, KeyringEntry>()
  #active: number | undefined
  #document: KeyringDocument
  #auditSecret: SecretBytes | undefined
  /** Counts what took keys of erasable partitions away: one that was being derived meanwhile is not kept. */
  #forgotten = 0
  /** Gives a copy of the secret of an erasable partition, which the keyring wipes. Set by `PartitionSecrets`. */
  findPartitionSecret: ((partition: string) => Promise<Uint8Array>) | undefined

  /** @param document - Its MAC is not checked here; {@link Keyring.load} does. */
  constructor(document: KeyringDocument, provider: MasterKeyProvider, options: KeyringOptions = {}) {
    this.#provider = provider
    this.#ttlMs = options.masterTtlMs ?? 60 * 60 * 1000
    this.#maxPartitionKeys = options.maxPartitionKeys ?? 256
    this.#clock = options.clock ?? systemClock
    this.#document = document
    this.#index()
  }

  /**
   * Loads a document: unwraps the audit secret and checks the MAC with it.
   *
   * @throws VaultError `VK_KEYRING`, `VK_PROVIDER`.
   */
  static async load(bytes: Uint8Array, provider: MasterKeyProvider, options: KeyringOptions = {}): Promise<Keyring> {
    const parsed = parseKeyringDocument(bytes)
    const keyring = new Keyring(parsed.document, provider, options)
    parsed.verifyMac(await keyring.auditSecret())
    return keyring
  }

  /**
   * Refuses every use once the keys were wiped.
   *
   * @throws VaultError `VK_CLOSED`.
   */
  checkOpen(): void {
    if (this.#closed) throw closed()
  }

  /** What may be done with which version. */
  get document(): KeyringDocument {
    return this.#document
  }

  /** The version writes go under. @throws VaultError `VK_VERSION_SUSPENDED` when there is none now. */
  get activeVersion(): number {
    if (this.#active !== undefined) return this.#active
    throw new VaultError('VK_VERSION_SUSPENDED', 'No key version is active, so nothing can be written', {
      hint: 'Resume the suspended version, or stage and promote a fresh one',
    })
  }

  /** Whether writes go under this version now. */
  isActive(version: number): boolean {
    return version === this.#active
  }

  /** The entry of a version, if the keyring ever had it. */
  entry(version: number): KeyringEntry | undefined {
    return this.#entries.get(version)
  }

  /** Takes another document of the same vault in; keys that it destroys are wiped. */
  replace(document: KeyringDocument): void {
    const { erasures } = this.#document
    this.#document = document
    if (!sameErasures(erasures, document.erasures)) this.forgetErasablePartitions()
    this.#index()
    for (const [version, { secret }] of this.#masters) {
      if (this.#entries.get(version)?.wrapped !== undefined) continue
      secret.dispose()
      this.#masters.delete(version)
      this.#dropPartitionKeys(version)
    }
  }

  /**
   * Parses bytes of the keyring document, checks its MAC, and takes it in when it is newer.
   *
   * @returns Whether it was newer.
   * @throws VaultError `VK_KEYRING` for another vault's document, a wrong MAC or an older epoch.
   */
  async accept(bytes: Uint8Array): Promise<boolean> {
    const parsed = parseKeyringDocument(bytes)
    parsed.verifyMac(await this.auditSecret())
    const { vaultId, epoch } = parsed.document
    if (vaultId !== this.#document.vaultId || epoch < this.#document.epoch) {
      throw new VaultError(
        'VK_KEYRING',
        `The keyring document is of epoch ${epoch}, ${this.#document.epoch} was seen before`,
      )
    }
    const newer = epoch > this.#document.epoch
    this.replace(parsed.document)
    return newer
  }

  /** The document as it is stored. */
  async write(document: KeyringDocument): Promise<Uint8Array> {
    return writeKeyringDocument(document, await this.auditSecret())
  }

  /** The secret behind the audit MACs; lent, do not wipe. */
  async auditSecret(): Promise<Uint8Array> {
    this.checkOpen()
    if (this.#auditSecret === undefined) {
      const wrapped = this.#document.auditSecret
      if (wrapped === undefined) throw new VaultError('VK_KEYRING', 'The keyring document has no audit secret')
      const secret = await this.#unwrap(wrapped, {
        vaultId: this.#document.vaultId,
        keyVersion: 0,
        purpose: 'audit',
      })
      this.#auditSecret = SecretBytes.take(secret)
    }
    return this.#auditSecret.withBytes((bytes) => bytes)
  }

  /**
   * Lends the key of a partition under a version for one synchronous call, when the state of that version allows the
   * use. Neither keep nor wipe it.
   *
   * @throws VaultError `VK_VERSION_UNKNOWN`, `VK_VERSION_RETIRED`, `VK_VERSION_SUSPENDED`, `VK_VERSION_COMPROMISED`,
   * `VK_STALE_WRITER`, `VK_PROVIDER`.
   */
  async withPartitionKey<T>(wanted: PartitionKeyName, keyUse: KeyUse, use: (key: PartitionKey) => T): Promise<T> {
    this.checkOpen()
    const { version } = wanted
    for (;;) {
      const cached = this.#cachedPartitionKey(wanted, keyUse)
      if (cached !== undefined) return use(cached)
      const forgotten = this.#forgotten
      const key = await this.#derive(wanted)
      this.#checkState(version, keyUse) // another keyring may have come in while the provider answered
      if (wanted.format === 2 && forgotten !== this.#forgotten) {
        wipe(key) // a partition was erased meanwhile, perhaps this one
        continue
      }
      this.#keep(keyName(wanted), key)
      return use(key) // in the same turn: an evicted key is wiped, and sealing under zeros would lose the record
    }
  }

  async #derive(wanted: PartitionKeyName): Promise<PartitionKey> {
    const { version, partition, format } = wanted
    if (format === 1) return this.withMaster(version, (master) => derivePartitionKey(master, version, partition))
    if (this.findPartitionSecret === undefined)
      throw new VaultError('VK_PARTITION_SECRET', 'The record is of an erasable partition, whose secret is not here')
    const secret = await this.findPartitionSecret(partition)
    try {
      return await this.withMaster(version, (master) => deriveErasablePartitionKey(master, secret, wanted))
    } finally {
      wipe(secret)
    }
  }

  /** Drops the keys of erasable partitions: one of them was erased, and its secret is looked up again. */
  forgetErasablePartitions(): void {
    this.#forgotten += 1
    for (const name of this.#partitionKeys.keys()) if (name.includes('\0')) this.#dropPartitionKey(name)
  }

  #cachedPartitionKey(wanted: PartitionKeyName, use: KeyUse): PartitionKey | undefined {
    const { version } = wanted
    this.#checkState(version, use)
    const master = this.#masters.get(version)
    if (master === undefined) return undefined
    if (this.#clock() > master.until) {
      this.#forget(version)
      return undefined
    }
    const name = keyName(wanted)
    const key = this.#partitionKeys.get(name)
    if (key !== undefined) {
      this.#partitionKeys.delete(name) // the least recently used goes first
      this.#partitionKeys.set(name, key)
    }
    return key
  }

  #checkState(version: number, use: KeyUse): void {
    const entry = this.#entries.get(version)
    if (entry === undefined)
      throw new VaultError('VK_VERSION_UNKNOWN', `The keyring has no key version ${version}`, { details: { version } })
    checkUse(version, entry.state, use)
  }

  #keep(name: string, key: PartitionKey): void {
    this.#partitionKeys.get(name)?.fill(0)
    this.#partitionKeys.set(name, key)
    if (this.#partitionKeys.size <= this.#maxPartitionKeys) return
    const [oldest] = this.#partitionKeys.keys()
    if (oldest !== undefined) this.#dropPartitionKey(oldest)
  }

  /** Lends a master; for legacy bytes and derivation. States are checked by the callers. */
  async withMaster<T>(version: number, use: (master: Uint8Array) => T): Promise<T> {
    this.checkOpen()
    const cached = this.#masters.get(version)
    if (cached !== undefined && this.#clock() <= cached.until) return cached.secret.withBytes(use)
    const wrapped = this.#entries.get(version)?.wrapped
    if (wrapped === undefined)
      throw new VaultError('VK_VERSION_RETIRED', `Key version ${version} was destroyed`, { details: { version } })
    const plaintext = await this.#unwrap(wrapped, {
      vaultId: this.#document.vaultId,
      keyVersion: version,
      purpose: 'master',
    })
    if (this.#closed) {
      wipe(plaintext)
      throw closed()
    }
    checkMasterKey(plaintext)
    this.#forget(version)
    const secret = SecretBytes.take(plaintext)
    this.#masters.set(version, { secret, until: this.#clock() + this.#ttlMs })
    return secret.withBytes(use)
  }

  async #unwrap(wrapped: Uint8Array, context: WrapContext): Promise<Uint8Array> {
    try {
      return await this.#provider.unwrap(wrapped, context)
    } catch (cause) {
      if (cause instanceof VaultError) throw cause
      throw new VaultError(
        'VK_PROVIDER',
        `Provider "${this.#provider.id}" did not unwrap key version ${context.keyVersion}`,
        { cause },
      )
    }
  }

  #index(): void {
    this.#entries = new Map(this.#document.entries.map((entry) => [entry.version, entry]))
    this.#active = activeVersion(this.#document)
  }

  #forget(version: number): void {
    this.#masters.get(version)?.secret.dispose()
    this.#masters.delete(version)
    this.#dropPartitionKeys(version)
  }

  #dropPartitionKeys(version: number): void {
    for (const name of this.#partitionKeys.keys()) if (name.startsWith(`${version}/`)) this.#dropPartitionKey(name)
  }

  #dropPartitionKey(name: string): void {
    this.#partitionKeys.get(name)?.fill(0)
    this.#partitionKeys.delete(name)
  }

  /** Wipes everything unwrapped and derived; every later use is refused. */
  dispose(): void {
    this.#closed = true
    for (const version of this.#masters.keys()) this.#forget(version)
    this.#auditSecret?.dispose()
    this.#auditSecret = undefined
  }
}

/** Ids have no NUL, so the keys of erasable partitions meet no others. */
function keyName({ version, partition, format }: PartitionKeyName): string {
  return `${version}/${format === 2 ? '\0' : ''}${partition}`
}

function sameErasures(a: KeyringDocument['erasures'] = {}, b: KeyringDocument['erasures'] = {}): boolean {
  return Object.keys(b).every((shard) => a[shard] === b[shard])
}
