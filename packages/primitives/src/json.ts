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
  readonly maxBytes?: number
  /** Deepest nesting of arrays and objects; 16 by default, 500 at most. */
  readonly maxDepth?: number
  /** `safe-integers` (default) refuses fractions, exponents, minus zero and what a double cannot hold exactly. */
  readonly numbers?: 'safe-integers' | 'any'
}

const DEFAULT_MAX_BYTES = 64 * 1024 * 1024
const DEFAULT_MAX_DEPTH = 16
// The scanner recurses: what a stack surely bears.
const HIGHEST_MAX_DEPTH = 500
/** A key that would reach the prototype of an ordinary object in careless code downstream. */
const FORBIDDEN_KEY = '__proto__'

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const INTEGER = /^-?(?:0|[1-9][0-9]*)$/
// Everything a string may hold unescaped; the common case is one match to the closing quote.
// eslint-disable-next-line no-control-regex
const PLAIN = /[^"\\\u0000-\u001f]*/y
const SPACE = /[ \t\n\r]*/y
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t',
}

class Scanner {
  readonly #text: string
  readonly #maxDepth: number
  readonly #anyNumber: boolean
  #position = 0

  constructor(text: string, maxDepth: number, anyNumber: boolean) {
    this.#text = text
    this.#maxDepth = maxDepth
    this.#anyNumber = anyNumber
  }

  #fail(message: string, position = this.#position): never {
    throw new PrimitivesError('PRIM_JSON', `Cannot read JSON: ${message} at character ${position}`, {
      details: { offset: position },
    })
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#position
    const found = pattern.exec(this.#text)?.[0] ?? ''
    this.#position += found.length
    return found
  }

  #space(): void {
    const code = this.#text.charCodeAt(this.#position)
    if (code <= 0x20) this.#match(SPACE)
  }

  document(): JsonValue {
    this.#space()
    const value = this.#value(0)
    this.#space()
    if (this.#position < this.#text.length) this.#fail('something follows the document')
    return value
  }

  #value(depth: number): JsonValue {
    switch (this.#text[this.#position]) {
      case '{':
        return this.#object(depth + 1)
      case '[':
        return this.#array(depth + 1)
      case '"':
        return this.#string()
      case 't':
        return this.#word('true', true)
      case 'f':
        return this.#word('false', false)
      case 'n':
        return this.#word('null', null)
      case undefined:
        return this.#fail('the document ends where a value is due')
      default:
        return this.#number()
    }
  }

  #word<Value>(word: string, value: Value): Value {
    if (!this.#text.startsWith(word, this.#position)) this.#fail('no value starts')
    this.#position += word.length
    return value
  }

  #number(): number {
    const start = this.#position
    const text = this.#match(NUMBER)
    if (text === '') this.#fail('no value starts', start)
    const value = Number(text)
    if (!this.#anyNumber && (!INTEGER.test(text) || !Number.isSafeInteger(value) || Object.is(value, -0))) {
      this.#fail(`${printable(text, 40)} is no safe integer`, start)
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
  #more(close: string): boolean {
    this.#space()
    const symbol = this.#text[this.#position]
    if (symbol !== ',' && symbol !== close) this.#fail(`"," or "${close}" is due`)
    this.#position++
    this.#space()
    return symbol === ','
  }

  #array(depth: number): JsonValue[] {
    this.#enter(depth)
    const items: JsonValue[] = []
    if (this.#text[this.#position] === ']') {
      this.#position++
      return items
    }
    do items.push(this.#value(depth))
    while (this.#more(']'))
    return items
  }

  #object(depth: number): JsonObject {
    this.#enter(depth)
    const members = Object.create(null) as Record<string, JsonValue>
    if (this.#text[this.#position] === '}') {
      this.#position++
      return members
    }
    do {
      const start = this.#position
      if (this.#text[start] !== '"') this.#fail('a key is due')
      const key = this.#string()
      if (key === FORBIDDEN_KEY) this.#fail('a forbidden key stands', start)
      if (key in members) this.#fail(`the key "${printable(key, 40)}" stands twice`, start)
      this.#space()
      if (this.#text[this.#position] !== ':') this.#fail('":" is due')
      this.#position++
      this.#space()
      members[key] = this.#value(depth)
    } while (this.#more('}'))
    return members
  }

  #string(): string {
    const start = this.#position
    this.#position++
    let text = this.#match(PLAIN)
    while (this.#text[this.#position] === '\\') {
      text += this.#escape() + this.#match(PLAIN)
    }
    if (this.#text[this.#position] !== '"') this.#fail('a string holds a control character or does not end')
    this.#position++
    if (!text.isWellFormed()) this.#fail('a string holds a lone surrogate', start)
    return text
  }

  #escape(): string {
    const symbol = this.#text[this.#position + 1]
    if (symbol === 'u') {
      const digits = this.#text.slice(this.#position + 2, this.#position + 6)
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.#fail('an escape lacks its four hex digits')
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
 * surrogates, `__proto__`, deep nesting, trailing text or, unless allowed, numbers that are no safe integers.
 *
 * @param bytes - The literal document.
 * @returns Values whose objects have no prototype.
 * @throws {@link PrimitivesError} `PRIM_JSON` with the offset, in characters, of what is wrong; `PRIM_LIMIT`.
 */
export function parseStrictJson(bytes: Uint8Array, options: StrictJsonOptions = {}): JsonValue {
  const { maxBytes = DEFAULT_MAX_BYTES, maxDepth = DEFAULT_MAX_DEPTH, numbers = 'safe-integers' } = options
  if (maxDepth > HIGHEST_MAX_DEPTH) throw new RangeError(`maxDepth must be at most ${HIGHEST_MAX_DEPTH}, not ${maxDepth}`)
  if (bytes.length > maxBytes) {
    throw new PrimitivesError('PRIM_LIMIT', `Cannot read JSON: ${bytes.length} bytes are over the limit of ${maxBytes}`)
  }
  let text: string
  try {
    text = utf8Decode(bytes)
  } catch (cause) {
    throw new PrimitivesError('PRIM_JSON', 'Cannot read JSON: the bytes are not valid UTF-8', { cause })
  }
  return new Scanner(text, maxDepth, numbers === 'any').document()
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
