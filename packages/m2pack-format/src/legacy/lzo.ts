import { legacyError } from './legacy-pack.ts'

/** Reads an LZO1X stream: a cursor with bounds on both sides. */
class LzoReader {
  readonly #input: Uint8Array
  readonly #output: Uint8Array
  #from = 0
  #to = 0

  constructor(input: Uint8Array, size: number) {
    this.#input = input
    this.#output = new Uint8Array(size)
  }

  byte(): number {
    return this.#input[this.#from++] ?? legacyError('LZO data is cut')
  }

  get first(): number {
    return this.#input[0] ?? legacyError('LZO data is empty')
  }

  /** A length that goes on in zero bytes. */
  length(base: number): number {
    let length = base
    for (;;) {
      const byte = this.byte()
      if (byte !== 0) return length + byte
      length += 255
      if (length > this.#output.length) legacyError('LZO data is longer than it says')
    }
  }

  literals(count: number): void {
    if (this.#from + count > this.#input.length || this.#to + count > this.#output.length)
      legacyError('LZO literals run over the end')
    this.#output.set(this.#input.subarray(this.#from, this.#from + count), this.#to)
    this.#from += count
    this.#to += count
  }

  match(distance: number, count: number): void {
    if (distance > this.#to || this.#to + count > this.#output.length) legacyError('LZO match runs over the end')
    for (let done = 0; done < count; done++, this.#to++)
      this.#output[this.#to] = this.#output[this.#to - distance] as number
  }

  /** Literals that the low bits of the byte before last announce. */
  trailing(): number {
    const count = (this.#input[this.#from - 2] as number) & 3
    this.literals(count)
    return count
  }

  end(): Uint8Array {
    if (this.#from !== this.#input.length) legacyError('Bytes follow the LZO data')
    if (this.#to !== this.#output.length)
      legacyError(`LZO data gives ${this.#to} bytes, expected ${this.#output.length}`)
    return this.#output
  }
}

/**
 * Decompresses an LZO1X stream to exactly `size` bytes.
 *
 * @throws {@link M2pError} `M2P_LEGACY`.
 */
export function decompressLzo(input: Uint8Array, size: number): Uint8Array {
  const reader = new LzoReader(input, size)
  // How many literals came just before: 0 to 3 trailing a match, 4 for a longer run.
  let before = 0
  if (reader.first > 17) {
    const count = reader.byte() - 17
    reader.literals(count)
    before = count < 4 ? count : 4
  }
  for (;;) {
    const op = reader.byte()
    if (op >= 16) {
      if (!farMatch(reader, op)) return reader.end()
      before = reader.trailing()
    } else if (before === 0) {
      reader.literals(op === 0 ? reader.length(15) + 3 : op + 3)
      before = 4
    } else {
      const high = reader.byte() << 2
      if (before === 4) reader.match((op >> 2) + high + 0x801, 3)
      else reader.match((op >> 2) + high + 1, 2)
      before = reader.trailing()
    }
  }
}

/** Matches with an operation of 16 or more; `false` for the end mark. */
function farMatch(reader: LzoReader, op: number): boolean {
  if (op >= 64) {
    reader.match(((op >> 2) & 7) + (reader.byte() << 3) + 1, (op >> 5) + 1)
    return true
  }
  const near = op >= 32
  const bits = near ? op & 31 : op & 7
  const count = (bits === 0 ? reader.length(near ? 31 : 7) : bits) + 2
  const low = reader.byte()
  const distance = (low >> 2) + (reader.byte() << 6)
  if (near) {
    reader.match(distance + 1, count)
    return true
  }
  const far = distance + ((op & 8) << 11)
  if (far === 0) return false
  reader.match(far + 0x4000, count)
  return true
}
