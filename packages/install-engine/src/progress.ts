import type { EngineState, Progress } from './events.ts'

/** Time constant of the shown rate. */
const SMOOTHING_MS = 5_000
/** At most ten progress events a second. */
const SHORTEST_GAP_MS = 100

/** Counts work and reports it; totals only grow, and nothing exceeds its total. */
export class ProgressMeter {
  phase: EngineState = 'idle'
  #downloaded = 0
  #downloadTotal = 0
  #disk = 0
  #diskTotal = 0
  #files = 0
  #fileTotal = 0
  #rate = 0
  #sampledAt: number
  #sampledBytes = 0
  #reportedAt = Number.NEGATIVE_INFINITY
  /** Bytes that really came over the network, retries included. */
  networkBytes = 0
  readonly #monotonic: () => number
  readonly #report: (progress: Progress) => void

  constructor(monotonic: () => number, report: (progress: Progress) => void) {
    this.#monotonic = monotonic
    this.#report = report
    this.#sampledAt = monotonic()
  }

  /** Raises the totals of this phase. */
  expect(more: { download?: number; disk?: number; files?: number }): void {
    this.#downloadTotal += more.download ?? 0
    this.#diskTotal += more.disk ?? 0
    this.#fileTotal += more.files ?? 0
    this.#maybeReport()
  }

  /** Counts work done. */
  did(work: { download?: number; disk?: number; files?: number }): void {
    this.#downloaded += work.download ?? 0
    this.networkBytes += work.download ?? 0
    this.#disk += work.disk ?? 0
    this.#files += work.files ?? 0
    this.#downloadTotal = Math.max(this.#downloadTotal, this.#downloaded)
    this.#diskTotal = Math.max(this.#diskTotal, this.#disk)
    this.#fileTotal = Math.max(this.#fileTotal, this.#files)
    this.#maybeReport()
  }

  /** Counts what an earlier run brought, so that a download that goes on does not seem to start over. */
  resume(bytes: number): void {
    this.#downloaded += bytes
    this.#downloadTotal += bytes
    this.#sampledBytes += bytes
    this.#maybeReport()
  }

  /** Bytes that came for nothing and have to come again. */
  wasted(bytes: number): void {
    this.#downloadTotal += bytes
  }

  #sample(): void {
    const now = this.#monotonic()
    const elapsed = now - this.#sampledAt
    if (elapsed < SHORTEST_GAP_MS) return
    const current = ((this.#downloaded - this.#sampledBytes) / elapsed) * 1000
    const weight = 1 - Math.exp(-elapsed / SMOOTHING_MS)
    this.#rate = this.#rate === 0 ? current : this.#rate + weight * (current - this.#rate)
    this.#sampledAt = now
    this.#sampledBytes = this.#downloaded
  }

  /** How things stand. */
  snapshot(): Progress {
    this.#sample()
    const left = this.#downloadTotal - this.#downloaded
    return {
      phase: this.phase,
      downloadedBytes: this.#downloaded,
      downloadTotalBytes: this.#downloadTotal,
      diskBytes: this.#disk,
      diskTotalBytes: this.#diskTotal,
      files: this.#files,
      fileTotal: this.#fileTotal,
      bytesPerSecond: Math.round(this.#rate),
      secondsLeft: left === 0 ? 0 : this.#rate < 1 ? undefined : Math.ceil(left / this.#rate),
    }
  }

  #maybeReport(): void {
    if (this.#monotonic() - this.#reportedAt < SHORTEST_GAP_MS) return
    this.report()
  }

  /** Reports now, however recent the last report is. */
  report(): void {
    this.#reportedAt = this.#monotonic()
    this.#report(this.snapshot())
  }
}
