import { parseStrictJson, isRecord, OneAtATime } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSmallFile, writeSmallFile } from './disk/disk.ts'
import type { Fetch } from './fetch/http.ts'
import { postQuietly } from './telemetry.ts'

/** A step of an update, docs/spec/release-server.md §4 "Funnel". */
export type ReportedStep = 'started' | 'downloaded' | 'swapped' | 'confirmed' | 'played' | 'failed' | 'start-failed'

/** The release that a step belongs to. */
export interface ReportedRelease {
  readonly version: string
  readonly manifestSha256: string
}

/** What step reports work with. */
export interface StepReportsOptions {
  readonly fs: FileSystem
  readonly fetch: Fetch
  readonly server: string
  readonly product: string | undefined
  readonly channel: string
  /** Remembers what was reported. */
  readonly file: string
  /** Whether anything is reported at all. */
  readonly isOn: boolean
}

const WRITE_TRIES = 3
const MAX_FILE_BYTES = 8 * 1024
/** Failures that are remembered for a release; further ones are not reported. */
const MAX_STEPS = 24

/** Where a server takes reports; an address of one product on it is of the same server. */
export function reportAddress(server: string): string {
  const url = new URL(server)
  const root = url.pathname.replace(/\/p\/[a-z0-9-]+\/?$/, '').replace(/\/$/, '')
  return `${url.origin}${root}/v1/reports`
}

/**
 * Reports how far an update got, where the player or the studio turned that on: product, channel, version, step and the
 * code of a failure. No id, and each step of a release once for an install, so that counts are of installs. Nothing
 * waits for a report, and none is repeated.
 */
export class StepReports {
  readonly #options: StepReportsOptions
  readonly #queue = new OneAtATime()
  #isOn: boolean
  #known: { readonly manifestSha256: string; readonly steps: readonly string[] } | undefined

  constructor(options: StepReportsOptions) {
    this.#options = options
    this.#isOn = options.isOn
  }

  /** Turns reports on or off. */
  set(isOn: boolean): void {
    this.#isOn = isOn
  }

  /** Reports a step, unless this install did so before. */
  report(release: ReportedRelease, step: ReportedStep, code?: string): void {
    if (!this.#isOn) return
    void this.#queue.run(() => this.#once(release, step, code)).catch(() => undefined)
  }

  async #once({ version, manifestSha256 }: ReportedRelease, step: ReportedStep, code?: string): Promise<void> {
    const { fs, file, fetch, server, channel } = this.#options
    const product = this.#options.product ?? /\/p\/([a-z0-9-]+)\/?$/.exec(new URL(server).pathname)?.[1]
    if (this.#known?.manifestSha256 !== manifestSha256)
      this.#known = { manifestSha256, steps: await this.#reported(manifestSha256) }
    const name = code === undefined ? step : `${step} ${code}`
    const known = this.#known.steps
    if (known.includes(name) || known.length >= MAX_STEPS) return
    this.#known = { manifestSha256, steps: [...known, name] }
    await this.#remember(fs, file)
    const body = { product, channel, version, step }
    await postQuietly(fetch, reportAddress(server), code === undefined ? body : { ...body, code })
  }

  /** On a full disk it is remembered until the launcher ends. */
  async #remember(fs: FileSystem, file: string): Promise<void> {
    const bytes = new TextEncoder().encode(`${JSON.stringify(this.#known)}\n`)
    for (let tries = 0; tries < WRITE_TRIES; tries++) {
      const error = await writeSmallFile(fs, file, bytes).catch((failure: unknown) => failure)
      // A recovery beside it sweeps unfinished files away.
      if (error === undefined) return
    }
  }

  async #reported(manifestSha256: string): Promise<readonly string[]> {
    const bytes = await readSmallFile(this.#options.fs, this.#options.file, MAX_FILE_BYTES).catch(() => undefined)
    try {
      const stored: unknown = bytes === undefined ? undefined : parseStrictJson(bytes)
      if (!isRecord(stored) || stored['manifestSha256'] !== manifestSha256) return []
      const { steps } = stored
      return Array.isArray(steps) ? steps.filter((step) => typeof step === 'string') : []
    } catch {
      return []
    }
  }
}
