// oxlint-disable typescript/no-non-null-assertion -- every index lies within an array of fixed length; asking per word
// would halve the speed
/**
 * HMAC-SHA-256 for the short inputs of key derivation. One seal makes four of them, and a call into native code costs
 * more than the few blocks it hashes; here a key is prepared once and each MAC is two or three runs of the compression
 * function. `test/small-hmac.test.ts` compares it with the vectors and with the other two implementations.
 */

const BLOCK_BYTES = 64
const DIGEST_BYTES = 32

// FIPS 180-4 §4.2.2 and §5.3.3: the first 32 bits of the fractional parts of cube and square roots of primes.
const roundConstants = new Int32Array(64)
const initialState = new Int32Array(8)
for (let candidate = 2, found = 0; found < 64; candidate++) {
  if (!isPrime(candidate)) continue
  if (found < 8) initialState[found] = fraction(candidate, 2)
  roundConstants[found] = fraction(candidate, 3)
  found += 1
}

function isPrime(candidate: number): boolean {
  for (let divisor = 2; divisor * divisor <= candidate; divisor++) if (candidate % divisor === 0) return false
  return true
}

/** The first 32 bits after the point of an n-th root, exact: computed with integers. */
function fraction(value: number, root: 2 | 3): number {
  const scaled = BigInt(value) << BigInt(32 * root)
  let low = 0n
  let high = 1n << 40n
  while (high - low > 1n) {
    const middle = (low + high) >> 1n
    if (middle ** BigInt(root) <= scaled) low = middle
    else high = middle
  }
  return Number(BigInt.asIntN(32, low))
}

const schedule = new Int32Array(64)
const block = new Uint8Array(BLOCK_BYTES)
const state = new Int32Array(8)

/** One run of the compression function of SHA-256 over 64 bytes at `offset`. */
function compress(into: Int32Array, bytes: Uint8Array, offset: number): void {
  const w = schedule
  for (let t = 0, at = offset; t < 16; t++, at += 4) {
    w[t] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
  }
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!
    const y = w[t - 2]!
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
    w[t] = (w[t - 16]! + s0 + w[t - 7]! + s1) | 0
  }
  let a = into[0]!
  let b = into[1]!
  let c = into[2]!
  let d = into[3]!
  let e = into[4]!
  let f = into[5]!
  let g = into[6]!
  let h = into[7]!
  for (let t = 0; t < 64; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + roundConstants[t]! + w[t]!) | 0
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + t2) | 0
  }
  into[0] = (into[0]! + a) | 0
  into[1] = (into[1]! + b) | 0
  into[2] = (into[2]! + c) | 0
  into[3] = (into[3]! + d) | 0
  into[4] = (into[4]! + e) | 0
  into[5] = (into[5]! + f) | 0
  into[6] = (into[6]! + g) | 0
  into[7] = (into[7]! + h) | 0
}

/** Hashes the rest of a message behind `prefixBytes` bytes that `state` has taken already, with padding. */
function finish(message: Uint8Array, length: number, prefixBytes: number): void {
  let at = 0
  for (; at + BLOCK_BYTES <= length; at += BLOCK_BYTES) compress(state, message, at)
  const rest = length - at
  for (let index = 0; index < rest; index++) block[index] = message[at + index]!
  block[rest] = 0x80
  block.fill(0, rest + 1)
  if (rest + 9 > BLOCK_BYTES) {
    compress(state, block, 0)
    block.fill(0)
  }
  const bits = (prefixBytes + length) * 8 // short inputs: well below 2^32
  block[60] = bits >>> 24
  block[61] = bits >>> 16
  block[62] = bits >>> 8
  block[63] = bits
  compress(state, block, 0)
}

function writeState(out: Uint8Array): void {
  for (let index = 0; index < 8; index++) {
    const word = state[index]!
    out[index * 4] = word >>> 24
    out[index * 4 + 1] = word >>> 16
    out[index * 4 + 2] = word >>> 8
    out[index * 4 + 3] = word
  }
}

/** A prepared HMAC-SHA-256 key of at most 64 bytes. */
export class SmallHmac {
  readonly #inner = new Int32Array(8)
  readonly #outer = new Int32Array(8)

  /** @param key - At most 64 bytes, secret; neither kept nor modified. */
  constructor(key: Uint8Array) {
    if (key.length > BLOCK_BYTES) throw new RangeError(`A key of ${key.length} bytes is over ${BLOCK_BYTES}`)
    this.#prepare(key, this.#inner, 0x36)
    this.#prepare(key, this.#outer, 0x5c)
    wipeScratch()
  }

  #prepare(key: Uint8Array, into: Int32Array, pad: number): void {
    block.fill(pad)
    for (let index = 0; index < key.length; index++) block[index] = key[index]! ^ pad
    into.set(initialState)
    compress(into, block, 0)
  }

  /**
   * MAC of the first `length` bytes of a message.
   *
   * @returns 32 fresh bytes.
   */
  mac(message: Uint8Array, length: number = message.length): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(DIGEST_BYTES)
    state.set(this.#inner)
    finish(message, length, BLOCK_BYTES)
    writeState(out)
    state.set(this.#outer)
    finish(out, DIGEST_BYTES, BLOCK_BYTES)
    writeState(out)
    wipeScratch()
    return out
  }

  /** Wipes the prepared key. */
  dispose(): void {
    this.#inner.fill(0)
    this.#outer.fill(0)
  }
}

/** The scratch has held key material: 64 words of schedule, a block, a state. */
function wipeScratch(): void {
  schedule.fill(0)
  block.fill(0)
  state.fill(0)
}
