import { readSync } from 'node:fs'
import { M2pError } from '../errors.ts'
import { roomFor } from '../buffer-size.ts'

const WINDOW_BYTES = 1024 * 1024

/** Reads exactly `length` bytes at `position`. @throws {@link M2pError} `M2P_TRUNCATED`. */
export function readAt(descriptor: number, target: Uint8Array, position: number): void {
  for (let done = 0; done < target.length;) {
    const count = readSync(descriptor, target, done, target.length - done, position + done)
    if (count === 0)
      throw new M2pError('M2P_TRUNCATED', `The archive ends at byte ${position + done}, more bytes are expected`, {
        details: { offset: position + done },
      })
    done += count
  }
}

/** Reads a file in pieces of a mebibyte: small payloads next to each other cost one call. */
export class WindowReader {
  readonly #descriptor: number
  #window = new Uint8Array(WINDOW_BYTES)
  #start = 0
  #length = 0

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /**
   * Gives a view that is good until the next read.
   *
   * @param behind - Where the bytes that will be read next end: nothing after it is read.
   */
  read(offset: number, length: number, behind: number): Uint8Array {
    if (offset < this.#start || offset + length > this.#start + this.#length) this.#fill(offset, length, behind)
    return this.#window.subarray(offset - this.#start, offset - this.#start + length)
  }

  #fill(offset: number, length: number, behind: number): void {
    const wanted = Math.max(length, Math.min(WINDOW_BYTES, behind - offset))
    if (wanted > this.#window.length) this.#window = new Uint8Array(roomFor(wanted))
    this.#length = 0
    readAt(this.#descriptor, this.#window.subarray(0, wanted), offset)
    this.#start = offset
    this.#length = wanted
  }
}
