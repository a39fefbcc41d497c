import { hexEncode, requireMembers, systemRandom, wipe } from '@keyturn/primitives'
import type { Clock, JsonObject, RandomSource } from '@keyturn/primitives'
import { parseCheckpoint, writeCheckpoint } from './audit/checkpoint.ts'
import type { Checkpoint } from './audit/checkpoint.ts'
import { AuditLog } from './audit/log.ts'
import type { AuditLogOptions, CheckpointContext } from './audit/log.ts'
import type { AuditVerdict } from './audit/verify.ts'
import type { Cell } from './cell.ts'
import { VaultError } from './errors.ts'
import { KeyEvents } from './key-events.ts'
import { Keyring } from './keyring.ts'
import type { KeyringOptions } from './keyring.ts'
import { writeKeyringDocument } from './keyring-document.ts'
import type { KeyringDocument } from './keyring-document.ts'
import type { MasterKeyProvider } from './master-key-provider.ts'
import { Partition } from './partition.ts'
import { checkRecordId } from './place.ts'
import type { VaultPolicy } from './policy.ts'
import type { RecordId } from './place.ts'
import { keyringDocumentName } from './rolled-back.ts'
import type { CensusRow, PartitionSecretStore, VaultRecord, VaultStore } from './store.ts'
import { Sweep } from './sweep.ts'
import type { SweepOptions, SweepReport } from './sweep.ts'
import { promote, stage } from './transitions.ts'
import { traverse } from './traverse.ts'
import type { TraverseOptions } from './traverse.ts'
import { DEFAULT_MAX_KEYRING_AGE_MS, VaultCore } from './vault-core.ts'
import type { GatedPolicy, TokenResolver } from './vault-core.ts'

/** Options of {@link Vault}. */
export interface VaultOptions extends KeyringOptions {
  /** Needed for layers 1 and 2. */
  resolver?: TokenResolver | undefined
  audit?: AuditLogOptions | undefined
  /**
   * How the sweep comes by the ids of gated layers, by partition; default `sidecar` for layer 1, `lazy` for layer 2.
   */
  gated?: ((partition: string) => GatedPolicy) | undefined
  /** Records sealed again after a read of old bytes, per second; default 100, 0 for none. */
  lazyResealsPerSecond?: number | undefined
  /**
   * How old the keyring may be when a key of it is used, in milliseconds; default 5,000. `suspend`, `compromise` and
   * `retire` reach every other process within this time; 0 reads the keyring before every use.
   */
  maxKeyringAgeMs?: number | undefined
  /**
   * What rotations, destructions and erasures are held to: {@link parseVaultPolicy}, or `readVaultPolicy` of `/node`.
   * It binds callers of this package, by `audit.actor`; not somebody who has both store and provider.
   */
  policy?: VaultPolicy | undefined
  /**
   * Where the secrets of erasable partitions are kept; default the store itself. A store of its own keeps them out of
   * the backups of the records: then an erasure reaches those backups as soon as the backups of this one are gone.
   */
  partitionSecrets?: PartitionSecretStore | undefined
  random?: RandomSource | undefined
  clock?: Clock | undefined
}

/** A record brought from a HexVault deployment: bytes without a header. */
export interface LegacyImport extends RecordId {
  readonly layer: VaultRecord['layer']
  readonly blob: Uint8Array
}

const checkpointDocumentName = 'audit-checkpoint'

/**
 * Secrets at rest under a master key that can be turned: partitions hold cells, cells hold named records, each sealed
 * to its place. Old versions stay readable, writes go under the active one, a sweep moves the rest, and a version goes
 * only when nothing is left under it.
 */
export class Vault {
  readonly #core: VaultCore
  /** Staging, promoting, retiring: everything that happens to masters. */
  readonly keys: KeyEvents
  /** The chain of what happened. */
  readonly audit: AuditLog

  private constructor(core: VaultCore, provider: MasterKeyProvider) {
    this.#core = core
    this.audit = core.audit
    this.keys = new KeyEvents(core, provider)
  }

  /**
   * Makes a vault on an empty store, with key version 1 active.
   *
   * @throws VaultError `VK_CONFLICT` when the store has a keyring already, `VK_PROVIDER`, `VK_STORE_IO`.
   */
  static async create(store: VaultStore, provider: MasterKeyProvider, options: VaultOptions = {}): Promise<Vault> {
    requireMembers(store, 'store', ['get', 'apply', 'readDocument'])
    requireMembers(provider, 'provider', ['generate', 'unwrap'])
    const vaultId = hexEncode((options.random ?? systemRandom)(16))
    const at = (options.clock ?? Date.now)()
    const secret = await provider.generate({ vaultId, keyVersion: 0, purpose: 'audit' })
    const master = await provider.generate({ vaultId, keyVersion: 1, purpose: 'master' })
    try {
      const empty: KeyringDocument = {
        vaultId,
        epoch: 0,
        entries: [],
        nodes: [],
        legacy: 'refuse',
        auditSecret: secret.wrapped,
      }
      const document = promote(stage(empty, 1, master, at), 1, at)
      const bytes = writeKeyringDocument(document, secret.plaintext)
      await store.apply([], {
        name: keyringDocumentName,
        bytes,
        expected: 'absent',
        fence: { epoch: document.epoch, activeVersion: 1 },
      })
    } finally {
      wipe(secret.plaintext, master.plaintext)
    }
    const vault = await Vault.open(store, provider, options)
    await vault.audit.append({ type: 'key_activated', outcome: 'done', toVersion: 1 })
    await vault.audit.checkpoint()
    return vault
  }

  /**
   * Opens the vault of a store.
   *
   * @throws VaultError `VK_NOT_FOUND`, `VK_KEYRING` (damaged, forged, or older than what is beside it),
   * `VK_PROVIDER`.
   */
  static async open(store: VaultStore, provider: MasterKeyProvider, options: VaultOptions = {}): Promise<Vault> {
    requireMembers(store, 'store', ['get', 'apply', 'readDocument'])
    requireMembers(provider, 'provider', ['generate', 'unwrap'])
    const document = await store.readDocument(keyringDocumentName)
    if (document === undefined) throw new VaultError('VK_NOT_FOUND', 'The store holds no vault')
    const keyring = await Keyring.load(document.bytes, provider, options)
    const context: CheckpointContext = {
      vaultId: keyring.document.vaultId,
      census: async () => censusJson(await store.census()),
      epoch: () => keyring.document.epoch,
      keep: (checkpoint) => keepCheckpoint(store, checkpoint),
    }
    const { clock } = options
    const secret = await keyring.auditSecret()
    const audit = new AuditLog(secret, context, {
      clock,
      ...options.audit,
    })
    const core = new VaultCore({
      store,
      keyring,
      audit,
      secret,
      clock,
      resolver: options.resolver,
      gated: options.gated,
      random: options.random,
      lazyResealsPerSecond: options.lazyResealsPerSecond ?? 100,
      maxKeyringAgeMs: options.maxKeyringAgeMs ?? DEFAULT_MAX_KEYRING_AGE_MS,
      partitionSecrets: options.partitionSecrets,
      policy: options.policy,
    })
    await core.checkNotRolledBack()
    return new Vault(core, provider)
  }

  /** A stable name of this vault, bound into every wrapped master. */
  get id(): string {
    return this.#core.keyring.document.vaultId
  }

  /** A handle on a partition. @throws VaultError `VK_INFO`. */
  partition(id: string): Partition {
    return new Partition(this.#core, id)
  }

  /**
   * Copies a record to another cell, sealed for that place, without giving its plaintext out; written to the audit
   * chain. The source stays as it is; what was at the destination is overwritten.
   *
   * @throws VaultError as {@link Cell.open} and {@link Cell.seal}; `VK_AUDIT` after the copy was made.
   */
  async traverse(source: Cell, destination: Cell, name: string, options: TraverseOptions = {}): Promise<void> {
    await traverse(this.#core, { source, destination, name }, options)
  }

  /** Seals everything under older versions again; goes on where a sweep was cut off. */
  async sweep(options: SweepOptions = {}): Promise<SweepReport> {
    const sweep = await Sweep.start(this.#core, options)
    return sweep.run()
  }

  /** Exact counts by key version, layer and format. */
  async census(): Promise<readonly CensusRow[]> {
    this.#core.checkOpen()
    return this.#core.store.census()
  }

  /**
   * Takes HexVault bytes in as they are; they are read under the legacy policy and resealed by reads and sweeps. An
   * existing record is not replaced.
   *
   * @returns How many were taken.
   * @throws VaultError `VK_INFO`, `VK_FORMAT` when the legacy policy refuses.
   */
  async importLegacy(imports: readonly LegacyImport[]): Promise<number> {
    this.#core.checkOpen()
    if (this.#core.keyring.document.legacy === 'refuse') {
      throw new VaultError('VK_FORMAT', 'Reading HexVault bytes is off, so nothing can be imported', {
        hint: 'Add the legacy master first',
      })
    }
    const changes = imports.map(({ partition, cell, name, layer, blob }) => {
      checkRecordId({ partition, cell, name })
      return {
        put: { partition, cell, name, layer, format: 'v0' as const, keyVersion: 0, envelope: blob },
        expected: 'absent' as const,
      }
    })
    const outcomes = await this.#core.store.apply(changes)
    return outcomes.filter((outcome) => outcome === 'done').length
  }

  /** Takes in a keyring that another process has written. Returns whether it was newer. */
  async reloadKeyring(): Promise<boolean> {
    return this.#core.reloadKeyring()
  }

  /** Checks the audit chain against the checkpoint kept beside the data and those the caller has. */
  async verifyAudit(anchors: readonly Checkpoint[] = []): Promise<AuditVerdict> {
    this.#core.checkOpen()
    const kept = await this.#core.store.readDocument(checkpointDocumentName)
    return this.audit.verify({ anchors: kept === undefined ? anchors : [...anchors, parseCheckpoint(kept.bytes)] })
  }

  /** Waits for background reseals. */
  async settle(): Promise<void> {
    await this.#core.settle()
  }

  /**
   * Waits for background work and wipes all keys; every use afterwards is refused with `VK_CLOSED`. The store is the
   * caller's to close.
   */
  async close(): Promise<void> {
    await this.#core.close()
  }
}

/** Counts by version, `v0` for records without a header. */
function censusJson(rows: readonly CensusRow[]): JsonObject {
  const counts: Record<string, number> = {}
  for (const { keyVersion, format, count } of rows) {
    const key = format === 'v0' ? 'v0' : String(keyVersion)
    counts[key] = (counts[key] ?? 0) + count
  }
  return counts
}

/** Keeps the newest checkpoint; one that another process has put there and is newer stays. */
async function keepCheckpoint(store: VaultStore, checkpoint: Checkpoint): Promise<void> {
  for (;;) {
    const kept = await store.readDocument(checkpointDocumentName)
    if (kept !== undefined && parseCheckpoint(kept.bytes).seq >= checkpoint.seq) return
    try {
      await store.apply([], {
        name: checkpointDocumentName,
        bytes: writeCheckpoint(checkpoint),
        expected: kept?.revision ?? 'absent',
      })
      return
    } catch (error) {
      if (!(error instanceof VaultError) || error.code !== 'VK_CONFLICT') throw error
    }
  }
}
