import { LauncherError } from './errors.ts'
import type { ReportedRelease } from './step-reports.ts'

/** One go at an update, until it ends or gives way. */
export class Attempt {
  readonly #giveWay = new AbortController()
  /** Where it is: the first and the last part hold the install, the middle only the staging folder. */
  phase: 'begin' | 'beside' | 'end' = 'begin'
  readonly signal: AbortSignal
  /** The release that it brings, where that is a new one. */
  release: ReportedRelease | undefined
  readonly ended: Promise<void>
  end: () => void = () => undefined

  constructor(signals: readonly AbortSignal[]) {
    this.signal = AbortSignal.any([...signals, this.#giveWay.signal])
    this.ended = new Promise((resolve) => (this.end = resolve))
  }

  giveWay(): void {
    this.#giveWay.abort(new LauncherError('LA_LOCKED', 'The update gives way to a start'))
  }

  get gaveWay(): boolean {
    return this.#giveWay.signal.aborted
  }
}
