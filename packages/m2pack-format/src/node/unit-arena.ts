/**
 * Memory of one thread for units of work that are being sealed, or are sealed and wait for their place in the archive.
 * Units leave in the order in which they came, so it is a ring: it never grows, whatever waits, and it makes no garbage.
 */
export class UnitArena {
  readonly #memory: Uint8Array
  /** Where each unit starts and ends, the oldest first. */
  readonly #units: { readonly start: number; end: number }[] = []
  /** Where the room of the newest unit ends. */
  #limit = 0
  /** Whether the newest units are before the oldest ones. */
  #isWrapped = false

  /** @param bytes - All that may be in flight. */
  constructor(bytes: number) {
    this.#memory = new Uint8Array(bytes)
  }

  /** Bytes of units that did not leave. */
  get bytesInFlight(): number {
    return this.#units.reduce((sum, { start, end }) => sum + end - start, 0)
  }

  /** Whether a unit that is at most `capacity` bytes when sealed finds room. */
  hasRoom(capacity: number): boolean {
    return this.#placeFor(capacity) !== undefined
  }

  /** Makes room for the next unit. What it does not take is there for the one after it. */
  start(capacity: number): void {
    const start = this.#placeFor(capacity)
    if (start === undefined) throw new RangeError(`A unit of ${capacity} bytes finds no room`)
    const newest = this.#units.at(-1)
    if (newest !== undefined && start < newest.end) this.#isWrapped = true
    this.#units.push({ start, end: start })
    this.#limit = start + capacity
  }

  /** The room that the newest unit has left. */
  get room(): Uint8Array {
    return this.#memory.subarray(this.#newest.end, this.#limit)
  }

  /** Takes over what was written at the start of `room`; returns it. */
  take(length: number): Uint8Array {
    const unit = this.#newest
    if (unit.end + length > this.#limit) throw new RangeError('A unit is longer than its room')
    unit.end += length
    return this.#memory.subarray(unit.end - length, unit.end)
  }

  /** Everything that the newest unit has taken. */
  get taken(): Uint8Array {
    return this.#memory.subarray(this.#newest.start, this.#newest.end)
  }

  /** The oldest unit leaves: its bytes are used again. */
  leave(): void {
    const left = this.#units.shift()
    const [oldest] = this.#units
    if (left === undefined || oldest === undefined || oldest.start < left.start) this.#isWrapped = false
  }

  get #newest(): { readonly start: number; end: number } {
    const unit = this.#units.at(-1)
    if (unit === undefined) throw new Error('No unit was started')
    return unit
  }

  #placeFor(capacity: number): number | undefined {
    const [oldest, newest] = [this.#units[0], this.#units.at(-1)]
    // Starting over uses the memory that is in the cache of the processor.
    if (oldest === undefined || newest === undefined) return capacity <= this.#memory.length ? 0 : undefined
    if (this.#isWrapped) return newest.end + capacity <= oldest.start ? newest.end : undefined
    if (newest.end + capacity <= this.#memory.length) return newest.end
    return capacity <= oldest.start ? 0 : undefined
  }
}
