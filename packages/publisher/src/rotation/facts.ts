import { base64Decode, hexDecode, printable } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { PublisherError } from '../errors.ts'

/** What a person can do about a journal that is damaged. */
const WAY_OUT =
  'Nothing was changed. Restore the file from a backup, or give the interrupted rotation up: the same command with ' +
  '--abandon'

/** Says that a journal is damaged. */
export function damagedJournal(where: string, what: string, cause?: unknown): PublisherError {
  return new PublisherError('CLI_TURN_JOURNAL', `Cannot read the journal of ${where}: ${what}`, {
    cause,
    hint: WAY_OUT,
  })
}

/**
 * Reads the facts of a journal. Each has one type and one range; those that nobody asked for are refused at
 * {@link Facts.end}: a journal says all it means, and nothing else.
 */
export class Facts {
  readonly #members: JsonObject
  readonly #where: string
  readonly #asked = new Set<string>()

  /**
   * @param members - As they are in the file.
   * @param where - `the rotation "content"`, for messages.
   */
  constructor(members: JsonObject, where: string) {
    this.#members = members
    this.#where = where
  }

  /** Whether a fact is there. */
  has(name: string): boolean {
    return this.#members[name] !== undefined
  }

  /** A fact that may be missing. */
  optional<T>(name: string, read: (name: string) => T): T | undefined {
    this.#asked.add(name)
    return this.has(name) ? read(name) : undefined
  }

  /** Text of at most 4,096 characters; `check` throws or answers false for what does not fit. */
  text(name: string, check: (text: string) => boolean | void = () => true): string {
    const value = this.#take(name)
    if (typeof value !== 'string' || value.length > 4096) throw this.#bad(name, 'expected text')
    try {
      if (check(value) === false) throw this.#bad(name, `found "${printable(value, 80)}"`)
    } catch (cause) {
      if (cause instanceof PublisherError) throw cause
      throw this.#bad(name, `found "${printable(value, 80)}"`, cause)
    }
    return value
  }

  /** A whole number. */
  integer(name: string, min: number, max: number): number {
    const value = this.#take(name)
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
      throw this.#bad(name, `expected a whole number from ${min} to ${max}`)
    return value
  }

  /** Milliseconds since the epoch, written as a number. */
  timeMs(name: string): number {
    return this.integer(name, 0, LAST_TIME_MS)
  }

  /** Milliseconds since the epoch, written as a number of seconds. */
  secondsAsMs(name: string): number {
    return this.integer(name, 0, LAST_TIME_MS / 1000) * 1000
  }

  /** Milliseconds since the epoch, written as ISO 8601 in UTC. */
  isoAsMs(name: string): number {
    const text = this.text(name)
    const timeMs = parseIsoTime(text)
    if (timeMs === undefined) throw this.#bad(name, `expected a time in UTC, found "${printable(text, 40)}"`)
    return timeMs
  }

  /** Yes or no. */
  boolean(name: string): boolean {
    const value = this.#take(name)
    if (typeof value !== 'boolean') throw this.#bad(name, 'expected true or false')
    return value
  }

  /** Bytes in Base64. */
  base64(name: string): Uint8Array {
    const value = this.#take(name)
    if (typeof value !== 'string') throw this.#bad(name, 'expected Base64')
    try {
      return base64Decode(value)
    } catch (cause) {
      throw this.#bad(name, 'expected Base64', cause)
    }
  }

  /** So many bytes in hex; given as the text. */
  hex(name: string, byteLength: number): string {
    return this.text(name, (text) => text.length === byteLength * 2 && hexDecode(text).length === byteLength)
  }

  /** A list of texts. */
  words(name: string, check?: (text: string) => boolean | void): string[] {
    return this.list(name, (item, at) => new Facts({ [at]: item }, this.#where).text(at, check))
  }

  /** A list. */
  list<T>(name: string, read: (item: JsonValue, at: string) => T): T[] {
    const value = this.#take(name)
    if (!Array.isArray(value) || value.length > 10_000) throw this.#bad(name, 'expected a list')
    return value.map((item, index) => read(item, `${name}[${index}]`))
  }

  /** An object; every member of it is read, and no other is there. */
  object<T>(name: string, read: (facts: Facts) => T): T {
    return this.item(this.#take(name), name, read)
  }

  /** An item of a list that is an object. */
  item<T>(value: JsonValue, at: string, read: (facts: Facts) => T): T {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#bad(at, 'expected an object')
    const facts = new Facts(value, `${this.#where}, "${at}"`)
    const result = read(facts)
    facts.end()
    return result
  }

  /** What `parse` makes of a fact; whatever it throws means that the journal is damaged. */
  parsed<T>(name: string, parse: (value: JsonValue) => T): T {
    const value = this.#take(name)
    try {
      return parse(value)
    } catch (cause) {
      throw this.#bad(name, 'it cannot be read', cause)
    }
  }

  /** Refuses facts that were not asked for. */
  end(): void {
    const unknown = Object.keys(this.#members).find((name) => !this.#asked.has(name))
    if (unknown !== undefined) throw this.#bad(unknown, 'it does not belong there')
  }

  #take(name: string): JsonValue {
    this.#asked.add(name)
    const value = this.#members[name]
    if (value === undefined) throw this.#bad(name, 'it is missing')
    return value
  }

  #bad(name: string, what: string, cause?: unknown): PublisherError {
    return damagedJournal(this.#where, `"${printable(name, 80)}": ${what}`, cause)
  }
}

/** The end of the year 9999: later times have no text form. */
const LAST_TIME_MS = 253_402_300_799_000
const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{3})?Z$/

/** Milliseconds since the epoch; undefined for text that is not ISO 8601 in UTC. */
export function parseIsoTime(text: string): number | undefined {
  const timeMs = ISO.test(text) ? Date.parse(text) : Number.NaN
  return timeMs >= 0 && timeMs <= LAST_TIME_MS ? timeMs : undefined
}
