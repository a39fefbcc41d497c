/** How far behind the newest message an older one is still told from a repeated one. */
export const REPLAY_WINDOW_WIDTH = 2048

const WORD_BITS = 32
// One word more than the width, so that the word being cleared is never inside the window (RFC 6479).
const WORDS = REPLAY_WINDOW_WIDTH / WORD_BITS + 1

/** Remembers which of the last {@link REPLAY_WINDOW_WIDTH} counters were seen. Noise specification §11.4, RFC 6479. */
export class ReplayWindow {
  readonly #bits = new Uint32Array(WORDS)
  #newest = -1n

  /** Whether a counter is neither seen nor too old. */
  isNew(counter: bigint): boolean {
    if (counter > this.#newest) return true
    if (this.#newest - counter >= BigInt(REPLAY_WINDOW_WIDTH)) return false
    const [word, bit] = place(counter)
    return ((this.#bits[word] as number) & bit) === 0
  }

  /** Notes a counter whose message proved genuine. */
  mark(counter: bigint): void {
    if (counter > this.#newest) this.#advance(counter)
    const [word, bit] = place(counter)
    this.#bits[word] = (this.#bits[word] as number) | bit
  }

  #advance(counter: bigint): void {
    const from = this.#newest < 0n ? -1n : this.#newest / BigInt(WORD_BITS)
    const steps = counter / BigInt(WORD_BITS) - from
    const words = steps > BigInt(WORDS) ? WORDS : Number(steps)
    for (let step = 1; step <= words; step += 1) this.#bits[Number((from + BigInt(step)) % BigInt(WORDS))] = 0
    if (words === WORDS) this.#bits.fill(0)
    this.#newest = counter
  }
}

function place(counter: bigint): [number, number] {
  const word = Number((counter / BigInt(WORD_BITS)) % BigInt(WORDS))
  return [word, (1 << Number(counter % BigInt(WORD_BITS))) >>> 0]
}
