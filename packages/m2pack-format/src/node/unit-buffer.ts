/** Memory that the sealed bytes of one unit of work are collected in, one after the other. */
export class UnitBuffer {
  #bytes = new Uint8Array(0)
  #length = 0

  /** Makes room for a unit that is at most `capacity` bytes when sealed. */
  start(capacity: number): void {
    if (this.#bytes.length < capacity) this.#bytes = new Uint8Array(capacity)
    this.#length = 0
  }

  /** The room that is left. */
  get room(): Uint8Array {
    return this.#bytes.subarray(this.#length)
  }

  /** Takes over what was written at the start of `room`; returns it. */
  take(length: number): Uint8Array {
    const taken = this.#bytes.subarray(this.#length, this.#length + length)
    this.#length += length
    return taken
  }

  /** Everything taken. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }
}
