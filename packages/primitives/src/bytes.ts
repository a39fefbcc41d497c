import { PrimitivesError } from './errors.ts'

/** What a {@link Reader} found wrong. */
export interface ReadProblem {
  /** Which rule was broken. */
  readonly code: 'PRIM_TRUNCATED' | 'PRIM_TRAILING' | 'PRIM_VALUE' | 'PRIM_LIMIT'
  /** Name of the field being read. */
  readonly field: string
  /** Byte offset of that field. */
  readonly offset: number
  /** What was found and what was expected. */
  readonly message: string
}

/** Makes the error that a {@link Reader} throws, so that each format throws its own. */
export type ReadErrorFactory = (problem: ReadProblem) => Error

/** Bounds of a number that is read. */
export interface NumberBounds {
  /** Smallest value allowed. */
  readonly min?: number
  /** Largest value allowed. */
  readonly max?: number
}

const primitivesError: ReadErrorFactory = ({ code, field, offset, message }) =>
  new PrimitivesError(code, message, { details: { field, offset } })

/**
 * Reads fixed-width fields with checked bounds. Every read names its field, and errors report that name and its offset.
 * Results are views, not copies: copy what has to outlive the bytes.
 */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #makeError: ReadErrorFactory
  #offset = 0

  /**
   * @param bytes - What is read; not modified.
   * @param makeError - Makes the error to throw; a `PrimitivesError` by default.
   */
  constructor(bytes: Uint8Array, makeError: ReadErrorFactory = primitivesError) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#makeError = makeError
  }

  /** Where the next field starts. */
  get offset(): number {
    return this.#offset
  }

  /** Bytes left. */
  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  /** Throws the error of this reader for a field that was already read. */
  fail(code: ReadProblem['code'], field: string, offset: number, message: string): never {
    throw this.#makeError({ code, field, offset, message })
  }

  #take(length: number, field: string): number {
    const start = this.#offset
    if (length > this.remaining) {
      this.fail(
        'PRIM_TRUNCATED',
        field,
        start,
        `Cannot read ${field}: expected ${length} bytes at offset ${start}, got ${this.remaining}`,
      )
    }
    this.#offset = start + length
    return start
  }

  #bounded(
    value: number,
    field: string,
    start: number,
    { min = 0, max = Number.MAX_SAFE_INTEGER }: NumberBounds,
  ): number {
    if (value > max) this.fail('PRIM_LIMIT', field, start, `Cannot read ${field}: ${value} is over the limit of ${max}`)
    if (value < min) this.fail('PRIM_VALUE', field, start, `Cannot read ${field}: ${value} is below ${min}`)
    return value
  }

  /** One byte. */
  u8(field: string, bounds: NumberBounds = {}): number {
    const start = this.#take(1, field)
    return this.#bounded(this.#view.getUint8(start), field, start, bounds)
  }

  /** Two bytes, little-endian. */
  u16le(field: string, bounds: NumberBounds = {}): number {
    const start = this.#take(2, field)
    return this.#bounded(this.#view.getUint16(start, true), field, start, bounds)
  }

  /** Two bytes, big-endian. */
  u16be(field: string, bounds: NumberBounds = {}): number {
    const start = this.#take(2, field)
    return this.#bounded(this.#view.getUint16(start, false), field, start, bounds)
  }

  /** Four bytes, little-endian. */
  u32le(field: string, bounds: NumberBounds = {}): number {
    const start = this.#take(4, field)
    return this.#bounded(this.#view.getUint32(start, true), field, start, bounds)
  }

  /** Four bytes, big-endian. */
  u32be(field: string, bounds: NumberBounds = {}): number {
    const start = this.#take(4, field)
    return this.#bounded(this.#view.getUint32(start, false), field, start, bounds)
  }

  /** Eight bytes, little-endian, unchecked: compare before converting. */
  u64le(field: string): bigint {
    return this.#view.getBigUint64(this.#take(8, field), true)
  }

  /** Eight bytes, big-endian, unchecked: compare before converting. */
  u64be(field: string): bigint {
    return this.#view.getBigUint64(this.#take(8, field), false)
  }

  /** Eight bytes, little-endian, as a number within bounds; never over 2^53 - 1. */
  size64le(field: string, bounds: NumberBounds = {}): number {
    const start = this.#offset
    return this.#size(this.u64le(field), field, start, bounds)
  }

  /** Eight bytes, big-endian, as a number within bounds; never over 2^53 - 1. */
  size64be(field: string, bounds: NumberBounds = {}): number {
    const start = this.#offset
    return this.#size(this.u64be(field), field, start, bounds)
  }

  #size(value: bigint, field: string, start: number, bounds: NumberBounds): number {
    const max = bounds.max ?? Number.MAX_SAFE_INTEGER
    if (value > BigInt(max))
      this.fail('PRIM_LIMIT', field, start, `Cannot read ${field}: ${value} is over the limit of ${max}`)
    return this.#bounded(Number(value), field, start, bounds)
  }

  /** A view of the next `length` bytes. */
  bytes(length: number, field: string): Uint8Array {
    const start = this.#take(length, field)
    return this.#bytes.subarray(start, start + length)
  }

  /** A view of everything that is left. */
  rest(field: string): Uint8Array {
    return this.bytes(this.remaining, field)
  }

  /** Skips bytes that must be zero. */
  zeros(length: number, field: string): void {
    const start = this.#offset
    if (this.bytes(length, field).some((byte) => byte !== 0)) {
      this.fail('PRIM_VALUE', field, start, `Cannot read ${field}: the ${length} bytes at offset ${start} must be zero`)
    }
  }

  /** Skips bytes that must equal `expected`. */
  expect(expected: Uint8Array, field: string): void {
    const start = this.#offset
    if (!equalBytes(this.bytes(expected.length, field), expected)) {
      this.fail(
        'PRIM_VALUE',
        field,
        start,
        `Cannot read ${field}: the bytes at offset ${start} are not the expected ones`,
      )
    }
  }

  /** Throws if any bytes are left. */
  end(): void {
    if (this.remaining > 0) {
      this.fail(
        'PRIM_TRAILING',
        'end',
        this.#offset,
        `${this.remaining} bytes follow the last field at offset ${this.#offset}`,
      )
    }
  }
}

/** Writes fixed-width fields into a growing buffer. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>
  #view: DataView
  #length = 0

  /** @param initialCapacity - Bytes allocated at first; it grows by doubling. */
  constructor(initialCapacity = 256) {
    this.#bytes = new Uint8Array(Math.max(16, initialCapacity))
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length
  }

  #reserve(length: number): number {
    const start = this.#length
    const end = start + length
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, start))
      this.#bytes.fill(0)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    this.#length = end
    return start
  }

  #integer(value: number, max: number): number {
    if (!Number.isInteger(value) || value < 0 || value > max) {
      throw new RangeError(`Cannot write ${value}: expected an integer from 0 to ${max}`)
    }
    return value
  }

  /** One byte. */
  u8(value: number): this {
    const checked = this.#integer(value, 0xff)
    const start = this.#reserve(1) // first: growing replaces the view
    this.#view.setUint8(start, checked)
    return this
  }

  /** Two bytes, little-endian. */
  u16le(value: number): this {
    const checked = this.#integer(value, 0xffff)
    const start = this.#reserve(2)
    this.#view.setUint16(start, checked, true)
    return this
  }

  /** Two bytes, big-endian. */
  u16be(value: number): this {
    const checked = this.#integer(value, 0xffff)
    const start = this.#reserve(2)
    this.#view.setUint16(start, checked, false)
    return this
  }

  /** Four bytes, little-endian. */
  u32le(value: number): this {
    const checked = this.#integer(value, 0xffffffff)
    const start = this.#reserve(4)
    this.#view.setUint32(start, checked, true)
    return this
  }

  /** Four bytes, big-endian. */
  u32be(value: number): this {
    const checked = this.#integer(value, 0xffffffff)
    const start = this.#reserve(4)
    this.#view.setUint32(start, checked, false)
    return this
  }

  #big(value: number | bigint): bigint {
    const big = BigInt(typeof value === 'number' ? this.#integer(value, Number.MAX_SAFE_INTEGER) : value)
    if (big < 0n || big > 0xffffffffffffffffn) throw new RangeError(`Cannot write ${big}: it does not fit 64 bits`)
    return big
  }

  /** Eight bytes, little-endian. */
  u64le(value: number | bigint): this {
    const checked = this.#big(value)
    const start = this.#reserve(8)
    this.#view.setBigUint64(start, checked, true)
    return this
  }

  /** Eight bytes, big-endian. */
  u64be(value: number | bigint): this {
    const checked = this.#big(value)
    const start = this.#reserve(8)
    this.#view.setBigUint64(start, checked, false)
    return this
  }

  /** Bytes as they are. */
  bytes(bytes: Uint8Array): this {
    const start = this.#reserve(bytes.length)
    this.#bytes.set(bytes, start)
    return this
  }

  /** Zero bytes. */
  zeros(length: number): this {
    this.#reserve(this.#integer(length, Number.MAX_SAFE_INTEGER))
    return this
  }

  /** A fresh copy of what was written. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length)
  }
}

/** Joins bytes into a fresh array. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

/** Whether two byte strings are equal, in time that depends on their lengths alone. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false
  let difference = 0
  for (let index = 0; index < left.length; index++) difference |= (left[index] as number) ^ (right[index] as number)
  return difference === 0
}

/** Orders byte strings as memcmp does, a prefix first. For public values: it stops at the first difference. */
export function compareBytes(left: Uint8Array, right: Uint8Array): number {
  const shared = Math.min(left.length, right.length)
  for (let index = 0; index < shared; index++) {
    const difference = (left[index] as number) - (right[index] as number)
    if (difference !== 0) return difference
  }
  return left.length - right.length
}
