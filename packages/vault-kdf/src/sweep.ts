import { hexEncode, wipe } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import type { ScanQuery, StoreChange, StoreOutcome, StoredRecord } from './store.ts'
import { maxFailures, noCounts, parseSweepJob, writeSweepJob } from './sweep-job.ts'
import type { SweepCounts, SweepFailure, SweepJob } from './sweep-job.ts'
import type { VaultCore } from './vault-core.ts'

/** Options of {@link Vault.sweep}. */
export interface SweepOptions {
  /** Records a page; default 100. One page is one write of the store. */
  pageSize?: number | undefined
  /** Rest between pages, milliseconds; default 0. */
  pauseMs?: number | undefined
  /** Upper bound of envelope bytes read per second; default none. */
  maxBytesPerSecond?: number | undefined
  /** Called after each page. */
  onProgress?: ((counts: SweepCounts) => void) | undefined
  signal?: AbortSignal | undefined
  /** How often the versions are gone through again when writers left records behind the cursor; default 3. */
  maxRounds?: number | undefined
}

/** What a sweep has done. */
export interface SweepReport {
  readonly jobId: string
  readonly toVersion: number
  readonly counts: SweepCounts
  readonly failures: readonly SweepFailure[]
  /** Records left under older versions or without a header: gated ones, and those that did not open. */
  readonly remaining: number
  readonly state: 'completed' | 'completed_with_errors'
}

/** Name of the job among the documents of a store. */
const jobDocumentName = 'sweep'

/**
 * How long a sweep may hold the thread, in milliseconds: a store that answers at once (memory, SQLite) never lets
 * others in by itself.
 */
const sliceMs = 8

/** What one page came to. */
interface Page {
  readonly changes: {
    readonly change: StoreChange
    readonly kind: 'resealed' | 'expired' | 'erased'
    readonly bytes: number
  }[]
  readonly failures: SweepFailure[]
  gated: number
}

/**
 * Goes through every record under an older version and seals it again, page by page: the records of a page and the
 * cursor are one write, so a crash costs at most a page of work. Writers go on meanwhile; who was faster wins.
 */
export class Sweep {
  readonly #core: VaultCore
  readonly #options: SweepOptions
  #job: SweepJob
  #revision: number | 'absent'
  #sliceStarted = performance.now()

  private constructor(core: VaultCore, options: SweepOptions, job: SweepJob, revision: number | 'absent') {
    this.#core = core
    this.#options = options
    this.#job = job
    this.#revision = revision
  }

  /** Takes up the job that was cut off, or makes a new one. */
  static async start(core: VaultCore, options: SweepOptions): Promise<Sweep> {
    await core.reloadKeyring()
    const stored = await core.store.readDocument(jobDocumentName)
    const toVersion = core.keyring.activeVersion
    const found = stored === undefined ? undefined : parseSweepJob(stored.bytes)
    const revision = stored?.revision ?? 'absent'
    if (found?.state === 'running' && found.toVersion === toVersion) return new Sweep(core, options, found, revision)
    const job: SweepJob = {
      jobId: hexEncode(core.random(8)),
      fromVersions: olderVersions(core, toVersion),
      toVersion,
      pass: 0,
      cursor: undefined,
      counts: noCounts,
      failures: [],
      startedAt: core.clock(),
      state: 'running',
    }
    await core.audit.append({
      type: 'sweep_started',
      outcome: 'done',
      toVersion,
      details: { job: job.jobId, from: [...job.fromVersions] },
    })
    return new Sweep(core, options, job, revision)
  }

  /**
   * Runs to the end.
   *
   * @throws VaultError `VK_CONFLICT` when another sweep runs on the same store; the signal's reason when aborted.
   */
  async run(): Promise<SweepReport> {
    const { maxRounds = 3 } = this.#options
    for (let round = 1; ; round++) {
      await this.#rewrapSecrets()
      await this.#round()
      const remaining = await this.#remaining()
      const explained = this.#job.counts.gated + this.#job.counts.failed
      if (remaining <= explained || round >= maxRounds) return this.#finish(remaining)
      // Rows came in behind the cursor (a writer from before the promotion): go through the index again.
      this.#job = {
        ...this.#job,
        pass: 0,
        cursor: undefined,
        failures: [],
        counts: { ...this.#job.counts, gated: 0, failed: 0 },
      }
    }
  }

  /** First, so that records and secrets are under one master when the sweep ends. */
  async #rewrapSecrets(): Promise<void> {
    const count = await this.#core.secrets.rewrap()
    if (count === 0) return
    const toVersion = this.#core.keyring.activeVersion
    await this.#core.audit.append({
      type: 'partition_secrets_rewrapped',
      outcome: 'done',
      toVersion,
      details: { count },
    })
  }

  /** One pass a version, then one over the records without a header. */
  async #round(): Promise<void> {
    const passes: Omit<ScanQuery, 'limit'>[] = [
      ...this.#job.fromVersions.map((keyVersion) => ({ keyVersion })),
      { format: 'v0' },
    ]
    while (this.#job.pass < passes.length) {
      const query = passes[this.#job.pass] ?? {}
      const limit = this.#options.pageSize ?? 100
      const records = await this.#core.store.scan({
        ...query,
        limit,
        ...(this.#job.cursor === undefined ? {} : { after: this.#job.cursor }),
      })
      const pass = this.#job.pass
      const target = this.#job.toVersion
      if (records.length > 0) await this.#page(records)
      if (target !== this.#job.toVersion) continue
      if (records.length < limit) this.#job = { ...this.#job, pass: pass + 1, cursor: undefined }
    }
  }

  async #page(records: readonly StoredRecord[]): Promise<void> {
    this.#options.signal?.throwIfAborted()
    this.#core.checkOpen()
    if (this.#retarget()) return
    const started = performance.now()
    const page: Page = { changes: [], failures: [], gated: 0 }
    for (const record of records) {
      await this.#look(record, page)
      if (performance.now() - this.#sliceStarted > sliceMs) await this.#pause(0)
    }
    const last = records.at(-1)
    const cursor =
      last === undefined ? this.#job.cursor : { partition: last.partition, cell: last.cell, name: last.name }
    const outcomes = await this.#apply(page, records.length, cursor)
    if (outcomes.includes('stale')) await this.#core.reloadKeyring()
    this.#options.onProgress?.(this.#job.counts)
    await this.#rest(records, started)
  }

  /** When the key was turned again meanwhile: everything that was the target is now old too. */
  #retarget(): boolean {
    const toVersion = this.#core.keyring.activeVersion
    if (toVersion === this.#job.toVersion) return false
    this.#job = {
      ...this.#job,
      toVersion,
      fromVersions: olderVersions(this.#core, toVersion),
      pass: 0,
      cursor: undefined,
    }
    return true
  }

  /** Decides what happens to one record of the page. */
  async #look(record: StoredRecord, page: Page): Promise<void> {
    const core = this.#core
    const { partition, cell, name, envelope, revision } = record
    if (record.expiresAt !== undefined && record.expiresAt <= core.clock()) {
      page.changes.push({
        change: { remove: { partition, cell, name }, expected: revision },
        kind: 'expired',
        bytes: 0,
      })
      return
    }
    try {
      if ((await core.secrets.state(partition)) === 'erased') {
        const change = { remove: { partition, cell, name }, expected: revision }
        page.changes.push({ change, kind: 'erased', bytes: 0 })
        return
      }
      const context = await core.sweepContext(record)
      if (context === undefined) {
        page.gated += 1
        return
      }
      const { plaintext } = await core.open(record, context, 'sweep')
      const fresh = await core.seal(
        { partition, cell, name, layer: record.layer, context },
        plaintext,
        record.expiresAt,
      )
      wipe(plaintext)
      // A record without a header is replaced by revision too: the store lets a v1 put take its place.
      page.changes.push({ change: { put: fresh, expected: revision }, kind: 'resealed', bytes: envelope.length })
    } catch (error) {
      if (!(error instanceof VaultError) || error.kind === 'unavailable' || error.code === 'VK_CLOSED') throw error
      // The key was turned between the look and the seal: the record waits for the next round.
      if (error.code === 'VK_STALE_WRITER') return void (await core.reloadKeyring())
      page.failures.push({ partition, cell, name, code: error.code })
    }
  }

  /** Writes page and cursor as one, and counts what became of each record. */
  async #apply(page: Page, scanned: number, cursor: SweepJob['cursor']): Promise<readonly StoreOutcome[]> {
    const { counts, failures } = this.#job
    // Counted as if all went well: a lost compare-and-swap is corrected in memory and with the next page.
    const done = (kind: string): number => page.changes.filter((change) => change.kind === kind).length
    const next: SweepJob = {
      ...this.#job,
      cursor,
      failures: [...failures, ...page.failures].slice(0, maxFailures),
      counts: {
        ...counts,
        scanned: counts.scanned + scanned,
        resealed: counts.resealed + done('resealed'),
        expired: counts.expired + done('expired'),
        erased: counts.erased + done('erased'),
        gated: counts.gated + page.gated,
        failed: counts.failed + page.failures.length,
        bytes: counts.bytes + page.changes.reduce((sum, { bytes }) => sum + bytes, 0),
      },
    }
    const outcomes = await this.#save(
      next,
      page.changes.map(({ change }) => change),
    )
    const lost = outcomes.filter((outcome) => outcome !== 'done').length
    this.#job = {
      ...next,
      counts: { ...next.counts, resealed: next.counts.resealed - lost, superseded: next.counts.superseded + lost },
    }
    return outcomes
  }

  async #save(job: SweepJob, changes: readonly StoreChange[]): Promise<readonly StoreOutcome[]> {
    const document = { name: jobDocumentName, bytes: writeSweepJob(job), expected: this.#revision }
    const outcomes = await this.#core.store.apply(changes, document)
    this.#revision = this.#revision === 'absent' ? 1 : this.#revision + 1
    return outcomes
  }

  async #rest(records: readonly StoredRecord[], started: number): Promise<void> {
    const { pauseMs = 0, maxBytesPerSecond } = this.#options
    const bytes = records.reduce((sum, record) => sum + record.envelope.length, 0)
    const due = maxBytesPerSecond === undefined ? 0 : (bytes / maxBytesPerSecond) * 1000 - (performance.now() - started)
    const waitMs = Math.max(pauseMs, due)
    await this.#pause(Math.max(waitMs, 0))
  }

  /** Waits, and lets readers and writers of the same process have their turn even when there is nothing to wait for. */
  async #pause(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms))
    this.#sliceStarted = performance.now()
  }

  async #remaining(): Promise<number> {
    const census = await this.#core.store.census()
    return census
      .filter((row) => row.format === 'v0' || row.keyVersion !== this.#job.toVersion)
      .reduce((sum, row) => sum + row.count, 0)
  }

  async #finish(remaining: number): Promise<SweepReport> {
    const state = this.#job.counts.failed > 0 ? 'completed_with_errors' : 'completed'
    this.#job = { ...this.#job, state }
    await this.#save(this.#job, [])
    const { jobId, toVersion, counts, failures } = this.#job
    await this.#core.audit.append({
      type: 'sweep_finished',
      outcome: 'done',
      toVersion,
      details: { job: jobId, state, remaining, ...counts },
    })
    return { jobId, toVersion, counts, failures, remaining, state }
  }
}

/** Versions that may still have records, compromised ones first. */
function olderVersions(core: VaultCore, toVersion: number): number[] {
  const entries = core.keyring.document.entries.filter(
    ({ version, state }) => version !== toVersion && state !== 'destroyed' && state !== 'staged',
  )
  return entries
    .toSorted((a, b) => Number(b.state === 'compromised') - Number(a.state === 'compromised') || a.version - b.version)
    .map(({ version }) => version)
}
