import {
  hexDecode,
  isRecord,
  isStrongEd25519PublicKey,
  parseStrictJson,
  PrimitivesError,
  printable,
  requireBytes,
} from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import type { ManifestErrorCode } from './errors.ts'
import { limits } from './limits.ts'
import { parseTime } from './time.ts'

const NAME = /^[a-z0-9-]{1,64}$/
const Z32_52 = /^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}$/

/** Whether text is 64 lower-case hex digits. A loop, not a pattern: every file of a release has one. */
function isDigest(text: string): boolean {
  if (text.length !== 64) return false
  for (let at = 0; at < 64; at++) {
    const code = text.charCodeAt(at)
    if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) return false
  }
  return true
}

/** How a document of this package reports what is wrong with it. */
export interface DocumentKind {
  /** For messages: `manifest`, `head`, `role document`. */
  readonly name: string
  /** Code for a wrong or missing field. */
  readonly schemaCode: ManifestErrorCode
  /** Code for anything that is not strict JSON. */
  readonly jsonCode: ManifestErrorCode
}

/**
 * The objects of one long top-level list, each read as soon as its JSON is: the tree of the whole list is never in
 * memory. What is wrong with one is reported when the list is reached, so that the order of checks stays the same.
 */
export class ObjectList<Item> {
  readonly name: string
  readonly #max: number
  readonly #kind: DocumentKind
  readonly #read: ((item: Fields) => Item) | undefined
  readonly #items: Item[] = []
  #count = 0
  #failure: unknown

  /** @param read - Reads one object; without it the list is passed over. */
  constructor(name: string, max: number, kind: DocumentKind, read: ((item: Fields) => Item) | undefined) {
    this.name = name
    this.#max = max
    this.#kind = kind
    this.#read = read
  }

  /** Takes the next object of the list. */
  take(item: JsonValue, index: number): void {
    this.#count = index + 1
    if (this.#read === undefined || this.#failure !== undefined || index >= this.#max) return
    try {
      this.#items.push(this.#read(Fields.ofItem(item, this.name, this.#kind, index)))
    } catch (failure) {
      this.#failure = failure
      this.#items.length = 0
    }
  }

  /** The objects of a document that was read with this list. */
  of(fields: Fields): Item[] {
    fields.checkList(this.name, this.#count, this.#max)
    if (this.#failure !== undefined) throw this.#failure
    return this.#items
  }
}

/**
 * Strict JSON of one document, whose top level is an object.
 *
 * @param list - Takes the items of one top-level list, which is then empty in what this returns.
 */
export function parseDocument(
  bytes: Uint8Array,
  kind: DocumentKind,
  maxBytes: number,
  list?: ObjectList<unknown>,
): Fields {
  requireBytes(bytes, 'bytes')
  if (bytes.length > maxBytes) {
    throw new ManifestError('MAN_LIMIT', `Cannot read ${kind.name}: ${bytes.length} bytes are over ${maxBytes}`)
  }
  let json: JsonValue
  try {
    const items = list && { of: list.name, take: (item: JsonValue, index: number) => list.take(item, index) }
    json = parseStrictJson(bytes, { maxBytes, maxDepth: limits.jsonDepth, ...(items && { items }) })
  } catch (cause) {
    if (!(cause instanceof PrimitivesError)) throw cause
    throw new ManifestError(kind.jsonCode, `Cannot read ${kind.name}: ${cause.message}`, {
      details: cause.details,
      cause,
    })
  }
  if (!isRecord(json))
    throw new ManifestError(kind.schemaCode, `Cannot read ${kind.name}: the top level is not an object`)
  return new Fields(json, '', kind)
}

/** Bounds of a list. */
export interface ListBounds {
  readonly min?: number
  readonly max?: number
}

/**
 * Typed access to one JSON object. Every getter names its field, and what is wrong is reported with its place.
 * Fields nobody asks for are ignored: that is how later schemas stay readable.
 */
export class Fields {
  readonly #members: JsonObject
  readonly #list: string
  readonly #index: number
  readonly #kind: DocumentKind

  /**
   * @param members - The object.
   * @param list - Its place: `files`, or `launcher.` for an object that is not in a list.
   * @param kind - How to report what is wrong.
   * @param index - Place in the list.
   */
  constructor(members: JsonObject, list: string, kind: DocumentKind, index = -1) {
    this.#members = members
    this.#list = list
    this.#index = index
    this.#kind = kind
  }

  /** One item of a list of objects. */
  static ofItem(item: JsonValue, list: string, kind: DocumentKind, index: number): Fields {
    if (isRecord(item)) return new Fields(item, list, kind, index)
    return new Fields({}, '', kind).fail(`${list}[${index}]`, 'is not an object')
  }

  /** Put together only when something is wrong: a manifest has some hundred thousand places. */
  get #place(): string {
    return this.#index < 0 ? this.#list : `${this.#list}[${this.#index}].`
  }

  /** Refuses the document. */
  fail(name: string, wanted: string): never {
    throw new ManifestError(this.#kind.schemaCode, `Cannot read ${this.#kind.name}: ${this.#place}${name} ${wanted}`, {
      details: { field: `${this.#place}${name}` },
    })
  }

  has(name: string): boolean {
    return this.#members[name] !== undefined
  }

  /** Names of all members, in the order of the document. */
  names(): string[] {
    return Object.keys(this.#members)
  }

  /** Text of 1 to `maxLength` UTF-16 units. */
  text(name: string, maxLength = 256): string {
    const value = this.#members[name]
    if (typeof value !== 'string') this.fail(name, 'is not a string')
    if (value === '' || value.length > maxLength)
      this.fail(name, `has ${value.length} characters, 1 to ${maxLength} are allowed`)
    return value
  }

  optionalText(name: string, maxLength?: number): string | undefined {
    return this.has(name) ? this.text(name, maxLength) : undefined
  }

  /** Text of any length, or nothing where there is none: for what may be rubbish without harm. */
  looseText(name: string): string {
    const value = this.#members[name]
    return typeof value === 'string' ? value : ''
  }

  /** Text that has to be one given value. */
  exactly(name: string, wanted: string, code: ManifestErrorCode): void {
    const value = this.#members[name]
    if (value === wanted) return
    const found = typeof value === 'string' ? `"${printable(value, 80)}"` : 'missing or no text'
    throw new ManifestError(
      code,
      `Cannot read ${this.#kind.name}: ${this.#place}${name} is ${found}, expected "${wanted}"`,
    )
  }

  integer(name: string, min: number, max: number): number {
    const value = this.#members[name]
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) this.fail(name, 'is not an integer')
    if (value < min || value > max) this.fail(name, `is ${value}, ${min} to ${max} are allowed`)
    return value
  }

  optionalInteger(name: string, min: number, max: number): number | undefined {
    return this.has(name) ? this.integer(name, min, max) : undefined
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.#members[name]
    if (value === undefined) return fallback
    if (typeof value !== 'boolean') this.fail(name, 'is neither true nor false')
    return value
  }

  /** 64 lower-case hex digits. */
  digest(name: string): string {
    const value = this.#members[name]
    if (typeof value !== 'string' || !isDigest(value)) this.fail(name, 'is not 64 lower-case hex digits')
    return value
  }

  optionalDigest(name: string): string | undefined {
    return this.has(name) ? this.digest(name) : undefined
  }

  /** Product or channel. */
  name(name: string): string {
    const value = this.#members[name]
    if (typeof value !== 'string' || !NAME.test(value)) this.fail(name, 'is not 1 to 64 of a-z, 0-9 and "-"')
    return value
  }

  optionalName(name: string): string | undefined {
    return this.has(name) ? this.name(name) : undefined
  }

  /** `YYYY-MM-DDTHH:MM:SSZ`. */
  time(name: string): string {
    const value = this.#members[name]
    if (typeof value !== 'string' || parseTime(value) === undefined)
      this.fail(name, 'is not a time like 2026-11-21T00:00:00Z')
    return value
  }

  optionalTime(name: string): string | undefined {
    return this.has(name) ? this.time(name) : undefined
  }

  object(name: string): Fields {
    const value = this.#members[name]
    if (!isRecord(value)) this.fail(name, 'is not an object')
    return new Fields(value, `${this.#place}${name}.`, this.#kind)
  }

  optionalObject(name: string): Fields | undefined {
    return this.has(name) ? this.object(name) : undefined
  }

  /** Refuses a member that is not a list, or one that had more than `max` items; returns it. */
  checkList(name: string, count: number | undefined, max: number): JsonValue[] {
    const value = this.#members[name]
    if (!Array.isArray(value)) this.fail(name, 'is not a list')
    const length = count ?? value.length
    if (length > max) {
      throw new ManifestError(
        'MAN_LIMIT',
        `Cannot read ${this.#kind.name}: ${this.#place}${name} has ${length} entries, ${max} are allowed`,
      )
    }
    return value
  }

  #items(name: string, { min = 0, max = limits.listEntries }: ListBounds): JsonValue[] {
    const value = this.checkList(name, undefined, max)
    if (value.length < min) this.fail(name, `has ${value.length} entries, expected at least ${min}`)
    return value
  }

  /** A list of objects, each handed to `read` with its place. */
  objects<Item>(name: string, bounds: ListBounds, read: (item: Fields, index: number) => Item): Item[] {
    const list = `${this.#place}${name}`
    return this.#items(name, bounds).map((item, index) => read(Fields.ofItem(item, list, this.#kind, index), index))
  }

  /** A list of distinct texts that all satisfy `accept`; empty when the member is absent. */
  texts(name: string, bounds: ListBounds, accept: (text: string) => boolean, wanted: string): string[] {
    if (!this.has(name) && (bounds.min ?? 0) === 0) return []
    const items = this.#items(name, bounds)
    items.forEach((item, index) => {
      if (typeof item !== 'string' || !accept(item)) this.fail(`${name}[${index}]`, wanted)
    })
    if (new Set(items).size !== items.length) this.fail(name, 'holds an entry twice')
    return items as string[]
  }

  /** A list of distinct Ed25519 public keys in hex, none of them weak. */
  publicKeys(name: string, bounds: ListBounds): string[] {
    return this.texts(name, bounds, isPublicKeyHex, 'is not the hex of a sound Ed25519 public key')
  }

  /** A list of distinct transport identities. */
  transportIdentities(name: string): string[] {
    return this.texts(name, {}, (text) => Z32_52.test(text), 'is not 52 characters of z-base-32')
  }
}

/** Whether text is 64 lower-case hex digits of a canonical Ed25519 key that is not of low order. */
export function isPublicKeyHex(text: string): boolean {
  return isDigest(text) && isStrongEd25519PublicKey(hexDecode(text))
}

/** Whether text may name a product or a channel. */
export function isName(text: string): boolean {
  return NAME.test(text)
}
