import { OneAtATime, systemClock, wipe } from '@keyturn/primitives'
import type { Clock, JsonObject } from '@keyturn/primitives'
import { VaultError, closed } from '../errors.ts'
import { auditSecretSigner, signCheckpoint } from './checkpoint.ts'
import type { Checkpoint, CheckpointSigner } from './checkpoint.ts'
import { deriveAuditKey, linkRecord, macHolds } from './record.ts'
import type { AuditEvent, AuditRecord } from './record.ts'
import { MemoryAuditStore } from './store.ts'
import type { AuditSink, AuditStore } from './store.ts'
import { verifyAuditChain } from './verify.ts'
import type { AuditVerdict, VerifyAuditOptions } from './verify.ts'

/** Options of {@link AuditLog}. */
export interface AuditLogOptions {
  /** Default: in memory. */
  store?: AuditStore | undefined
  sinks?: readonly AuditSink[] | undefined
  /** Signs the checkpoints; default a key derived from the audit secret. */
  signer?: CheckpointSigner | undefined
  /** Records between two checkpoints; default 1,000. Each key event makes one too. */
  checkpointEvery?: number | undefined
  /** Put into every record; default empty. */
  actor?: string | undefined
  clock?: Clock | undefined
}

/** What the log asks of the vault for a checkpoint. */
export interface CheckpointContext {
  readonly vaultId: string
  /** Counts by version, for the statement. */
  census(): Promise<JsonObject>
  /** Epoch of the keyring, noted in each checkpoint so that a search for it ends there. */
  epoch?(): number
  /** Keeps the newest checkpoint beside the data, away from the chain. */
  keep(checkpoint: Checkpoint): Promise<void>
}

const maxTries = 20

/** The one chain of everything that happens to keys and across cells: appended in order, MACed, checkpointed. */
export class AuditLog {
  readonly #store: AuditStore
  readonly #sinks: readonly AuditSink[]
  readonly #signer: CheckpointSigner
  readonly #every: number
  readonly #actor: string
  readonly #clock: Clock
  readonly #key: Uint8Array
  readonly #context: CheckpointContext
  #last: AuditRecord | undefined
  #loaded = false
  readonly #appends = new OneAtATime()
  #lastTime = 0n
  #closed = false

  /** @param auditSecret - Used for derivation here and now; not kept. */
  constructor(auditSecret: Uint8Array, context: CheckpointContext, options: AuditLogOptions = {}) {
    this.#store = options.store ?? new MemoryAuditStore()
    this.#sinks = options.sinks ?? []
    this.#signer = options.signer ?? auditSecretSigner(auditSecret)
    this.#every = options.checkpointEvery ?? 1_000
    this.#actor = options.actor ?? ''
    this.#clock = options.clock ?? systemClock
    this.#key = deriveAuditKey(auditSecret)
    this.#context = context
  }

  /** Who is named in every record, in the words of the application. */
  get actor(): string {
    return this.#actor
  }

  /** Who signs the checkpoints. */
  get checkpointKey(): Uint8Array {
    return this.#signer.publicKey.slice()
  }

  /**
   * Adds an event to the chain, then tells the sinks.
   *
   * @throws VaultError `VK_AUDIT` when the chain or a required sink did not take it.
   */
  async append(event: AuditEvent): Promise<AuditRecord> {
    return this.#serial(async () => {
      const record = await this.#appendOne(event)
      if (record.seq % this.#every === 0) await this.#checkpoint()
      return record
    })
  }

  /** Signs where the chain stands now and tells the sinks. */
  async checkpoint(): Promise<Checkpoint> {
    return this.#serial(() => this.#checkpoint())
  }

  /** Checks the whole chain; the caller brings checkpoints kept elsewhere. */
  async verify(options: Omit<VerifyAuditOptions, 'auditKey'> = {}): Promise<AuditVerdict> {
    if (this.#closed) throw closed()
    try {
      return await verifyAuditChain(this.#store.records(), {
        checkpointKey: this.#signer.publicKey,
        ...options,
        auditKey: this.#key,
      })
    } catch (error) {
      if (!(error instanceof VaultError) || error.code !== 'VK_AUDIT_BROKEN') throw error
      const { seq } = error.details
      return { ok: false, flaw: 'unreadable', seq: typeof seq === 'number' ? seq : 0, reason: error.message }
    }
  }

  /**
   * The epoch of the keyring that the chain states last; `undefined` when it states none. Records whose MAC does not
   * hold are passed over: {@link AuditLog.verify} names them.
   */
  async lastEpoch(): Promise<number | undefined> {
    if (this.#closed) throw closed()
    const backward = this.#store.recordsBackward?.bind(this.#store)
    let last: number | undefined
    for await (const record of backward === undefined ? this.#store.records() : backward()) {
      const { epoch } = record.details
      if (record.outcome !== 'done' || typeof epoch !== 'number' || !macHolds(record, this.#key)) continue
      if (backward !== undefined) return epoch
      last = epoch
    }
    return last
  }

  /** All records in order. */
  records(): AsyncIterable<AuditRecord> {
    return this.#store.records()
  }

  /** Wipes the key of the MACs; nothing is appended afterwards, for its MAC would be that of an empty key. */
  dispose(): void {
    this.#closed = true
    wipe(this.#key)
  }

  async #serial<T>(work: () => Promise<T>): Promise<T> {
    return this.#appends.run(async () => {
      if (this.#closed) throw closed()
      return work()
    })
  }

  async #appendOne(event: AuditEvent): Promise<AuditRecord> {
    const record = await this.#link(event)
    for (const sink of this.#sinks) await this.#tell(sink, () => sink.append(record))
    return record
  }

  async #link(event: AuditEvent): Promise<AuditRecord> {
    for (let tries = 1; ; tries++) {
      try {
        if (!this.#loaded) this.#last = await this.#store.last()
        this.#loaded = true
        const record = linkRecord({ actor: this.#actor, ...event }, this.#last, this.#now(), this.#key)
        await this.#store.append(record)
        this.#last = record
        return record
      } catch (cause) {
        this.#loaded = false
        const retry = cause instanceof VaultError && cause.code === 'VK_CONFLICT' && tries < maxTries
        if (!retry) throw new VaultError('VK_AUDIT', `The audit log did not take "${event.type}"`, { cause })
      }
    }
  }

  /** Never backwards within one process, and no two alike. */
  #now(): bigint {
    const now = BigInt(Math.trunc(this.#clock())) * 1_000_000n
    this.#lastTime = now > this.#lastTime ? now : this.#lastTime + 1n
    return this.#lastTime
  }

  async #tell(sink: AuditSink, call: () => Promise<void> | undefined): Promise<void> {
    try {
      await call()
    } catch (cause) {
      if (sink.delivery === 'required')
        throw new VaultError('VK_AUDIT', 'A required audit sink did not take a record', { cause })
    }
  }

  async #checkpoint(): Promise<Checkpoint> {
    const census = await this.#context.census()
    const epoch = this.#context.epoch?.()
    const details = epoch === undefined ? { census } : { census, epoch }
    const record = await this.#appendOne({ type: 'checkpoint', outcome: 'done', details })
    const checkpoint = await signCheckpoint(
      { vaultId: this.#context.vaultId, seq: record.seq, head: record.hash, time: record.time, census },
      this.#signer,
    )
    await this.#context.keep(checkpoint)
    for (const sink of this.#sinks) await this.#tell(sink, () => sink.checkpoint?.(checkpoint))
    return checkpoint
  }
}
