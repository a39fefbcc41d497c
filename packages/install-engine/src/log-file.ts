import { appendFileSync, renameSync, statSync } from 'node:fs'
import { printable } from '@keyturn/primitives'
import type { EngineEvent } from './events.ts'

/** One log file's size, and how many are kept. */
const MAX_LOG_BYTES = 10 * 1024 * 1024
const KEPT_LOGS = 5

function rotate(path: string): void {
  for (let index = KEPT_LOGS - 1; index >= 1; index--) {
    try {
      renameSync(index === 1 ? path : `${path}.${index - 1}`, `${path}.${index}`)
    } catch {
      // there is no such log yet
    }
  }
}

/** How much a line of the log matters. */
export type LogLevel = 'info' | 'warn' | 'error'

/** Trust that a person should look at. */
const DOUBTFUL: ReadonlySet<string> = new Set(['stale', 'barred', 'forked'])

function levelOf(event: EngineEvent): LogLevel {
  return event.type === 'notice' || (event.type === 'trust' && DOUBTFUL.has(event.status)) ? 'warn' : 'info'
}

/**
 * Writes lines to `launcher.log`: time, level, what it is, its members as JSON or `name=value`. A log that cannot be
 * written never stops an update.
 */
export class LogFile {
  readonly #path: string
  #bytes: number

  constructor(path: string) {
    this.#path = path
    try {
      this.#bytes = statSync(path).size
    } catch {
      this.#bytes = 0
    }
  }

  /** Writes one line. */
  line(at: number, level: LogLevel, text: string): void {
    const entry = `${new Date(at).toISOString()} ${level} ${printable(text, 2000)}\n`
    try {
      if (this.#bytes + entry.length > MAX_LOG_BYTES) {
        rotate(this.#path)
        this.#bytes = 0
      }
      appendFileSync(this.#path, entry, { mode: 0o600 })
      this.#bytes += entry.length
    } catch {
      // a full disk or a missing folder: the update itself will say so
    }
  }

  /** Writes an event; progress and single files are too many for a log. */
  event(event: EngineEvent, level: LogLevel = levelOf(event)): void {
    if (event.type === 'progress' || event.type === 'file') return
    const { type, at, ...rest } = event
    this.line(at, level, `${type} ${JSON.stringify(rest)}`)
  }
}
