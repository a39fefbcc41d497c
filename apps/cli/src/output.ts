import { formatBytes } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import type { Progress } from '@keyturn/publisher'

export { counted } from '@keyturn/publisher'

/** A stream that text is written to: `process.stdout`, or a buffer in tests. */
export interface TextStream {
  /** Whether a person looks at it. */
  readonly isTTY?: boolean | undefined
  /** Width in columns, when it is a terminal. */
  readonly columns?: number | undefined
  /** Writes text. */
  write(text: string): unknown
}

/** What decides how a command speaks. */
export interface OutputOptions {
  /** One JSON object on stdout and nothing else. */
  readonly json: boolean
  /** Steps and progress as JSON lines on stderr. */
  readonly events: boolean
  /** Neither steps nor progress. */
  readonly quiet: boolean
  /** Colours allowed, if the stream is a terminal. */
  readonly color: boolean
}

const REDRAW_MS = 100

/** A word before a line, in color where the stream is a terminal that wants it. */
export interface Mark {
  /** `31` is red. */
  readonly sgr: string
  readonly text: string
}

// eslint-disable-next-line no-control-regex -- these are what it is about
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/**
 * Text as a terminal may show it: what moves the cursor, changes colors or the direction of writing is spelled out. All
 * text that is printed passes here, for a name, a message or a file may come from a server.
 */
export function terminalText(text: string): string {
  return text.replace(CONTROL, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/** JSON whose strings hold no control character of the second block either. */
function terminalJson(value: JsonValue): string {
  return JSON.stringify(value).replace(
    CONTROL,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** How a command speaks to people and programs. Text goes to stdout, steps and progress to stderr. */
export class Output {
  readonly #options: OutputOptions
  readonly #stdout: TextStream
  readonly #stderr: TextStream
  readonly #bar: Bar

  /**
   * @param options - Flags of the command line.
   * @param stdout - Where results go.
   * @param stderr - Where progress and errors go.
   */
  constructor(options: OutputOptions, stdout: TextStream = process.stdout, stderr: TextStream = process.stderr) {
    this.#options = options
    this.#stdout = stdout
    this.#stderr = stderr
    this.#bar = new Bar(stderr)
  }

  /** Whether stdout carries one JSON object. */
  get json(): boolean {
    return this.#options.json
  }

  /** Whether programs read the steps on stderr. */
  get events(): boolean {
    return this.#options.events
  }

  /** Wipes a bar that is on the screen, before somebody else writes there. */
  clear(): void {
    this.#bar.clear()
  }

  /** Prints a line of a result; nothing under `--json`. */
  line(text = ''): void {
    this.clear()
    if (!this.#options.json) this.#stdout.write(`${terminalText(text)}\n`)
  }

  /** Prints the one JSON object. */
  object(value: JsonValue): void {
    this.#stdout.write(`${terminalJson(value)}\n`)
  }

  /** Reports a step: a line on stderr, or a JSON line with `--events`. `facts` hold no secret. */
  step(name: string, text: string, facts: Readonly<Record<string, JsonValue>> = {}, mark?: Mark): void {
    if (this.#options.events) this.#stderr.write(`${terminalJson({ event: 'step', name, text, ...facts })}\n`)
    else if (!this.#options.quiet && !this.#options.json) this.error(text, mark)
  }

  /** Reports something that deserves a look and does not stop the command. */
  warn(text: string): void {
    if (this.#options.events) this.#stderr.write(`${terminalJson({ event: 'warning', text })}\n`)
    else this.error(text, { sgr: '33', text: 'warning:' })
  }

  /** Prints to stderr whatever the flags say: errors. */
  error(text: string, mark?: Mark): void {
    this.clear()
    const before = mark === undefined ? '' : `${this.#paint(mark.sgr, mark.text)} `
    this.#stderr.write(`${before}${terminalText(text)}\n`)
  }

  /** Wraps our own text in an SGR color when stderr is a terminal that wants it. */
  #paint(sgr: string, text: string): string {
    return this.#options.color && this.#stderr.isTTY === true ? `\u001b[${sgr}m${text}\u001b[0m` : text
  }

  /**
   * Starts a progress bar: drawn when stderr is a terminal, JSON lines with `--events`, else silent.
   *
   * @param label - What is going on.
   * @param unit - How amounts are shown.
   */
  progress(label: string, unit: 'bytes' | 'count' = 'bytes'): Progress {
    const { events, quiet, json } = this.#options
    if (events) return eventProgress(this.#stderr, label)
    if (quiet || json || this.#stderr.isTTY !== true) return { update: () => {}, end: () => {} }
    return barProgress(this.#bar, label, unit)
  }
}

function eventProgress(stream: TextStream, label: string): Progress {
  let last = 0
  return {
    update(done, total = 0) {
      const now = performance.now()
      if (now - last < REDRAW_MS && done < total) return
      last = now
      stream.write(`${terminalJson({ event: 'progress', label, done, total })}\n`)
    },
    end() {},
  }
}

/** The bar that is on the screen: whatever is printed next wipes it first, and the next update draws it again. */
class Bar {
  isDrawn = false
  readonly #stream: TextStream

  constructor(stream: TextStream) {
    this.#stream = stream
  }

  draw(text: string): void {
    this.isDrawn = true
    this.#stream.write(`\r\u001b[K${terminalText(text).slice(0, (this.#stream.columns ?? 80) - 1)}`)
  }

  clear(): void {
    if (this.isDrawn) this.#stream.write('\r\u001b[K')
    this.isDrawn = false
  }
}

function barProgress(bar: Bar, label: string, unit: 'bytes' | 'count'): Progress {
  const show = unit === 'bytes' ? formatBytes : (count: number) => String(count)
  const rate = new Rate(performance.now())
  let last = 0
  return {
    update(done, total = 0) {
      const now = performance.now()
      rate.note(done, now)
      if (now - last < REDRAW_MS) return
      last = now
      // Without a total nobody knows which part this is.
      const part = total > 0 ? Math.min(1, done / total) : undefined
      const filled = Math.round((part ?? 0) * 20)
      const left = total > 0 ? rate.secondsLeft(total - done, now) : undefined
      const drawn = `${'█'.repeat(filled)}${'░'.repeat(20 - filled)} ${Math.floor((part ?? 0) * 100)} %`
      bar.draw(
        [
          part === undefined ? `${label} ${show(done)}` : `${label} ${drawn}  ${show(done)}/${show(total)}`,
          `${show(Math.round(rate.perSecond))}/s`,
          ...(left === undefined ? [] : [`${formatDuration(left)} left`]),
        ].join('  '),
      )
    },
    end() {
      bar.clear()
    },
  }
}

/** Nothing is said about the time that is left before so much of it was seen. */
const RATE_AFTER_MS = 2_000
/** How much of the past counts: a rate that follows every hiccup makes a time that jumps. */
const RATE_SPAN_MS = 5_000

/** How fast something goes, smoothed. */
class Rate {
  readonly #startMs: number
  #lastMs: number
  #lastDone = 0
  #perMs: number | undefined

  constructor(nowMs: number) {
    this.#startMs = nowMs
    this.#lastMs = nowMs
  }

  note(done: number, nowMs: number): void {
    const passed = nowMs - this.#lastMs
    if (passed < REDRAW_MS) return
    const now = Math.max(0, done - this.#lastDone) / passed
    const weight = 1 - Math.exp(-passed / RATE_SPAN_MS)
    this.#perMs = this.#perMs === undefined ? now : this.#perMs + weight * (now - this.#perMs)
    this.#lastMs = nowMs
    this.#lastDone = done
  }

  get perSecond(): number {
    return (this.#perMs ?? 0) * 1000
  }

  /** Undefined: nobody can say yet. */
  secondsLeft(rest: number, nowMs: number): number | undefined {
    if (nowMs - this.#startMs < RATE_AFTER_MS || this.#perMs === undefined || this.#perMs <= 0) return undefined
    return Math.ceil(Math.max(0, rest) / this.#perMs / 1000)
  }
}

/** A time as people say it: `1 h 12 min`, `3 min 5 s`, `40 s`. */
export function formatDuration(seconds: number): string {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60]
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`
}

/**
 * Lays out rows in columns two spaces apart; the last column is not padded.
 *
 * @param rows - Cells of each row.
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  const cells = rows.map((row) => row.map((cell) => terminalText(cell.replaceAll(/[\n\r\t]/g, ' '))))
  for (const row of cells)
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    })
  return cells
    .map((row) =>
      row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  '),
    )
    .map((row) => row.trimEnd())
    .join('\n')
}
