/** Gives fresh random bytes. Injected, so that tests can be repeated. */
export type RandomSource = (length: number) => Uint8Array<ArrayBuffer>

/** Milliseconds since 1970. Injected, so that tests can set the clock. */
export type Clock = () => number

/** The system's random source. */
export const systemRandom: RandomSource = (length) => {
  const bytes = new Uint8Array(length)
  const MAX_DRAW = 65_536
  for (let start = 0; start < length; start += MAX_DRAW) {
    globalThis.crypto.getRandomValues(bytes.subarray(start, Math.min(length, start + MAX_DRAW)))
  }
  return bytes
}

/** The system's clock. */
export const systemClock: Clock = () => Date.now()

/** Overwrites secrets with zeros. Best effort: the engine may have made copies. */
export function wipe(...secrets: readonly (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0)
}

const REDACTED = '[redacted]'

/** One owner of secret bytes: lends them, never prints them, wipes them. */
export class SecretBytes {
  #bytes: Uint8Array | undefined

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Takes ownership of `bytes`: they are moved into the holder, and wiped where they were. */
  static take(bytes: Uint8Array): SecretBytes {
    // V8 keeps arrays below 64 bytes on its heap, where the collector copies them and wipes nothing.
    // An explicit buffer is outside the heap and stays in one place.
    const fixed = new Uint8Array(new ArrayBuffer(bytes.length))
    fixed.set(bytes)
    wipe(bytes)
    return new SecretBytes(fixed)
  }

  /** Whether {@link dispose} was called. */
  get disposed(): boolean {
    return this.#bytes === undefined
  }

  /**
   * Lends the bytes for the length of one call. Neither keep nor modify them.
   *
   * @throws TypeError after {@link dispose}.
   */
  withBytes<Result>(use: (bytes: Uint8Array) => Result): Result {
    if (this.#bytes === undefined) throw new TypeError('This secret has been disposed of')
    return use(this.#bytes)
  }

  /** Wipes the bytes. May be called again. */
  dispose(): void {
    wipe(this.#bytes)
    this.#bytes = undefined
  }

  /** Never the secret. */
  toString(): string {
    return REDACTED
  }

  /** Never the secret. */
  toJSON(): string {
    return REDACTED
  }

  /** Never the secret. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return REDACTED
  }
}
