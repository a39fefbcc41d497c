import { printable, formatBytes } from '@keyturn/primitives'
import type { EngineEvent } from '@keyturn/install-engine'

/** Writes engine events for a person (one bar on a terminal) or for a program (JSON lines). */
export class EventPrinter {
  readonly #stream: {
    readonly isTTY?: boolean | undefined
    readonly columns?: number | undefined
    write(text: string): unknown
  }
  readonly #mode: 'bar' | 'json' | 'silent'
  #drawn = false

  constructor(
    stream: {
      readonly isTTY?: boolean | undefined
      readonly columns?: number | undefined
      write(text: string): unknown
    },
    options: { json: boolean; events: boolean; quiet: boolean },
  ) {
    this.#stream = stream
    this.#mode = options.events ? 'json' : options.json || options.quiet ? 'silent' : 'bar'
  }

  /** Takes an event. */
  readonly print = (event: EngineEvent): void => {
    if (this.#mode === 'json') this.#stream.write(`${JSON.stringify({ event: event.type, ...event })}\n`)
    if (this.#mode !== 'bar') return
    if (event.type === 'notice') this.#line(`${event.code}: ${printable(event.message, 1000)}`)
    if (event.type === 'plan' && event.plan.changedFiles > 0) {
      this.#line(
        `Release ${event.plan.version}: ${event.plan.changedFiles} files change, ` +
          `${formatBytes(event.plan.downloadBytes)} to download`,
      )
    }
    if (event.type === 'progress') this.#bar(event.progress)
    // What follows on the terminal is somebody else's: the client's, or the shell's.
    if (event.type === 'state' && ['idle', 'key-load', 'launch'].includes(event.state)) this.end()
  }

  #bar(progress: Extract<EngineEvent, { type: 'progress' }>['progress']): void {
    if (this.#stream.isTTY !== true) return
    const isFetch = progress.phase === 'fetch' && progress.downloadTotalBytes > 0
    const [done, total] = isFetch
      ? [progress.downloadedBytes, progress.downloadTotalBytes]
      : [progress.diskBytes, progress.diskTotalBytes]
    const share = total === 0 ? 0 : done / total
    const filled = Math.round(share * 24)
    const rate = isFetch
      ? `  ${formatBytes(progress.bytesPerSecond)}/s${progress.secondsLeft === undefined ? '' : `  ${progress.secondsLeft} s left`}`
      : ''
    const text =
      `${isFetch ? 'Downloading' : 'Verifying'} ` +
      `[${'#'.repeat(filled)}${'.'.repeat(24 - filled)}] ${formatBytes(done)} of ` +
      `${formatBytes(total)}${rate}`
    this.#stream.write(`\r\u001b[K${text.slice(0, (this.#stream.columns ?? 80) - 1)}`)
    this.#drawn = true
  }

  #line(text: string): void {
    this.end()
    this.#stream.write(`${text}\n`)
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#drawn) this.#stream.write('\r\u001b[K')
    this.#drawn = false
  }
}
