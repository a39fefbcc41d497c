import { utf8Decode } from './encodings.ts'
import { PrimitivesError, printable } from './errors.ts'

/** What strict JSON can hold. Objects have no prototype. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject

/** An object of strict JSON: no prototype, keys in the order of the document. */
export interface JsonObject {
  readonly [key: string]: JsonValue
}

/** How strict to be. */
export interface StrictJsonOptions {
  /** Longest document, in bytes; 64 MiB by default. */
  readonly maxBytes?: number | undefined
  /** Deepest nesting of arrays and objects; 16 by default, 500 at most. */
  readonly maxDepth?: number | undefined
  /** `safe-integers` (default) refuses fractions, exponents, minus zero and what a double cannot hold exactly. */
  readonly numbers?: 'safe-integers' | 'any' | undefined
  /** A long list that is delivered item by item, so that it is never in memory as a whole. */
  readonly items?: JsonItems | undefined
}

/** Takes the items of one list as they are read. */
export interface JsonItems {
  /** Member of the top-level object that holds the list; it is empty in the result. */
  readonly of: string
  /** Called for each item in order, before the rest is read: the document may still turn out to be malformed. */
  readonly take: (item: JsonValue, index: number) => void
}

const DEFAULT_MAX_BYTES = 64 * 1024 * 1024
const DEFAULT_MAX_DEPTH = 16
// The scanner recurses; 500 levels fit any default stack.
const HIGHEST_MAX_DEPTH = 500
/** A key that would reach the prototype of an ordinary object in careless code downstream. */
const FORBIDDEN_KEY = '__proto__'

const INTEGER = /^-?(?:0|[1-9][0-9]*)$/
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/
const HEX4 = /^[0-9a-fA-F]{4}$/
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

// Symbols as UTF-16 code units: comparing numbers is what keeps the scanner fast.
const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const SPACE = 0x20

/** Objects of up to this many members look for a duplicate key in a list, larger ones in a set. */
const FEW_KEYS = 16

class Scanner {
  readonly #text: string
  readonly #maxDepth: number
  readonly #anyNumber: boolean
  readonly #items: JsonItems | undefined
  #position = 0

  constructor(text: string, maxDepth: number, anyNumber: boolean, items: JsonItems | undefined) {
    this.#text = text
    this.#maxDepth = maxDepth
    this.#anyNumber = anyNumber
    this.#items = items
  }

  #fail(message: string, position = this.#position): never {
    throw new PrimitivesError('PRIM_JSON', `Cannot read JSON: ${message} at character ${position}`, {
      details: { offset: position },
    })
  }

  #space(): void {
    const text = this.#text
    let position = this.#position
    for (;;) {
      const code = text.charCodeAt(position)
      if (code !== SPACE && code !== 0x0a && code !== 0x0d && code !== 0x09) break
      position++
    }
    this.#position = position
  }

  document(): JsonValue {
    this.#space()
    const value = this.#value(0)
    this.#space()
    if (this.#position < this.#text.length) this.#fail('something follows the document')
    return value
  }

  #value(depth: number): JsonValue {
    const code = this.#text.charCodeAt(this.#position)
    if (code === QUOTE) return this.#string()
    if (code === OPEN_OBJECT) return this.#object(depth + 1)
    if (code === OPEN_ARRAY) return this.#array(depth + 1)
    if (code === 0x2d || (code >= 0x30 && code <= 0x39)) return this.#number()
    if (code === 0x74) return this.#word('true', true)
    if (code === 0x66) return this.#word('false', false)
    if (code === 0x6e) return this.#word('null', null)
    return this.#fail(Number.isNaN(code) ? 'the document ends where a value is expected' : 'no value starts')
  }

  #word<Value>(word: string, value: Value): Value {
    if (!this.#text.startsWith(word, this.#position)) this.#fail('no value starts')
    this.#position += word.length
    return value
  }

  #number(): number {
    const start = this.#position
    let end = start + 1
    for (;;) {
      const code = this.#text.charCodeAt(end)
      const digit = code >= 0x30 && code <= 0x39
      if (!digit && code !== 0x2b && code !== 0x2d && code !== 0x2e && code !== 0x45 && code !== 0x65) break
      end++
    }
    this.#position = end
    const text = this.#text.slice(start, end)
    if (!NUMBER.test(text)) this.#fail(`${printable(text, 40)} is not a number`, start)
    const value = Number(text)
    if (!this.#anyNumber && (!INTEGER.test(text) || !Number.isSafeInteger(value) || Object.is(value, -0))) {
      this.#fail(`${printable(text, 40)} is not a safe integer`, start)
    }
    if (!Number.isFinite(value)) this.#fail(`${printable(text, 40)} is out of range`, start)
    return value
  }

  #enter(depth: number): void {
    if (depth > this.#maxDepth) this.#fail(`nesting is deeper than ${this.#maxDepth}`)
    this.#position++
    this.#space()
  }

  /** After an element: true when another follows, false at the closing bracket. */
  #more(close: number): boolean {
    this.#space()
    const code = this.#text.charCodeAt(this.#position)
    if (code !== COMMA && code !== close) this.#fail(`expected "," or "${String.fromCharCode(close)}"`)
    this.#position++
    this.#space()
    return code === COMMA
  }

  #array(depth: number): JsonValue[] {
    this.#enter(depth)
    const items: JsonValue[] = []
    if (this.#text.charCodeAt(this.#position) === CLOSE_ARRAY) {
      this.#position++
      return items
    }
    do items.push(this.#value(depth))
    while (this.#more(CLOSE_ARRAY))
    return items
  }

  /** A list whose items are delivered; `[]` stays in the result. */
  #handOut(depth: number, take: JsonItems['take']): JsonValue[] {
    this.#enter(depth)
    if (this.#text.charCodeAt(this.#position) === CLOSE_ARRAY) {
      this.#position++
      return []
    }
    let index = 0
    do take(this.#value(depth), index++)
    while (this.#more(CLOSE_ARRAY))
    return []
  }

  #object(depth: number): JsonObject {
    this.#enter(depth)
    const members = Object.create(null) as Record<string, JsonValue>
    if (this.#text.charCodeAt(this.#position) === CLOSE_OBJECT) {
      this.#position++
      return members
    }
    const keys: string[] = []
    let manyKeys: Set<string> | undefined
    do {
      const start = this.#position
      if (this.#text.charCodeAt(start) !== QUOTE) this.#fail('expected a key')
      const key = this.#string()
      if (key === FORBIDDEN_KEY) this.#fail('a forbidden key stands', start)
      if (manyKeys?.has(key) ?? keys.includes(key)) this.#fail(`the key "${printable(key, 40)}" stands twice`, start)
      keys.push(key)
      if (keys.length === FEW_KEYS) manyKeys = new Set(keys)
      manyKeys?.add(key)
      this.#space()
      if (this.#text.charCodeAt(this.#position) !== COLON) this.#fail('expected ":"')
      this.#position++
      this.#space()
      const isHandedOut = depth === 1 && this.#items?.of === key && this.#text.charCodeAt(this.#position) === OPEN_ARRAY
      members[key] = isHandedOut ? this.#handOut(depth + 1, (this.#items as JsonItems).take) : this.#value(depth)
    } while (this.#more(CLOSE_OBJECT))
    return members
  }

  /** Moves to the first symbol that a string cannot hold as it is, and returns what is before it. */
  #plain(): string {
    const text = this.#text
    const start = this.#position
    let position = start
    for (;;) {
      const code = text.charCodeAt(position)
      // Written so that NaN, the end of the document, ends the loop too.
      if (!(code >= SPACE) || code === QUOTE || code === BACKSLASH) break
      position++
    }
    this.#position = position
    return text.slice(start, position)
  }

  #string(): string {
    const start = this.#position
    this.#position++
    let text = this.#plain()
    // The document came from UTF-8, so only an escape can bring in half a surrogate pair.
    const escaped = this.#text.charCodeAt(this.#position) === BACKSLASH
    while (this.#text.charCodeAt(this.#position) === BACKSLASH) text += this.#escape() + this.#plain()
    if (this.#text.charCodeAt(this.#position) !== QUOTE)
      this.#fail('a string holds a control character or does not end')
    this.#position++
    if (escaped && !text.isWellFormed()) this.#fail('a string holds a lone surrogate', start)
    return text
  }

  #escape(): string {
    const symbol = this.#text[this.#position + 1]
    if (symbol === 'u') {
      const digits = this.#text.slice(this.#position + 2, this.#position + 6)
      if (!HEX4.test(digits)) this.#fail('an escape lacks its four hex digits')
      this.#position += 6
      return String.fromCharCode(Number.parseInt(digits, 16))
    }
    const character = symbol === undefined || !Object.hasOwn(ESCAPES, symbol) ? undefined : ESCAPES[symbol]
    if (character === undefined) this.#fail('an escape is unknown')
    this.#position += 2
    return character
  }
}

/**
 * Reads JSON (RFC 8259) with nothing left to interpretation: no duplicate keys, byte order mark, lone
 * surrogates, `__proto__`, deep nesting, trailing text or, unless allowed, numbers that are not safe integers.
 *
 * @param bytes - The literal document.
 * @returns Values whose objects have no prototype.
 * @throws {@link PrimitivesError} `PRIM_JSON` with the offset, in characters, of what is wrong; `PRIM_LIMIT`.
 */
export function parseStrictJson(bytes: Uint8Array, options: StrictJsonOptions = {}): JsonValue {
  const { maxBytes = DEFAULT_MAX_BYTES, maxDepth = DEFAULT_MAX_DEPTH, numbers = 'safe-integers', items } = options
  if (maxDepth > HIGHEST_MAX_DEPTH)
    throw new RangeError(`maxDepth must be at most ${HIGHEST_MAX_DEPTH}, not ${maxDepth}`)
  if (bytes.length > maxBytes) {
    throw new PrimitivesError('PRIM_LIMIT', `Cannot read JSON: ${bytes.length} bytes are over the limit of ${maxBytes}`)
  }
  let text: string
  try {
    text = utf8Decode(bytes)
  } catch (cause) {
    throw new PrimitivesError('PRIM_JSON', 'Cannot read JSON: the bytes are not valid UTF-8', { cause })
  }
  return new Scanner(text, maxDepth, numbers === 'any', items).document()
}

/**
 * Writes JSON canonically (RFC 8785): keys in UTF-16 order, no white space, numbers as ECMAScript prints them.
 *
 * @throws TypeError for a number that is not finite, a lone surrogate, or anything JSON cannot hold.
 */
export function canonicalJson(value: JsonValue): string {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError(`JSON cannot hold ${value}`)
  if (typeof value === 'string' && !value.isWellFormed()) throw new TypeError('JSON cannot hold a lone surrogate')
  if (value === null || typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean') {
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object') throw new TypeError(`JSON cannot hold a ${typeof value}`)
  const members = value as JsonObject
  const parts = Object.keys(members)
    .sort()
    .map((key) => `${canonicalJson(key)}:${canonicalJson(members[key] as JsonValue)}`)
  return `{${parts.join(',')}}`
}
