// BLAKE3 of inputs of one chunk (at most 1,024 bytes): what almost every event is. The general implementation spends
// five times as long on such short inputs; verifying a log would not reach its speed with it
// (docs/decisions/0021-blake3-of-one-chunk.md). Checked against the general one for every length.

const CHUNK_START = 1
const CHUNK_END = 2
const ROOT = 8
const BLOCK_LENGTH = 64

/** Longest input of {@link blake3Chunk}. */
export const MAX_CHUNK_BYTES = 1024

const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19] as const

// Scratch space of the one synchronous call at a time; holds nothing secret.
const words = new Int32Array(16)
const chain = new Int32Array(8)

/**
 * One compression. Long because state and message words are locals and each step of a round is written out: an indexed
 * state is twice as slow. After each round the message words change places, by the fixed permutation of BLAKE3.
 */
function compress(length: number, flags: number): void {
  let s0 = chain[0] as number,
    s1 = chain[1] as number,
    s2 = chain[2] as number,
    s3 = chain[3] as number,
    s4 = chain[4] as number,
    s5 = chain[5] as number,
    s6 = chain[6] as number,
    s7 = chain[7] as number
  let s8: number = IV[0],
    s9: number = IV[1],
    s10: number = IV[2],
    s11: number = IV[3],
    s12 = 0,
    s13 = 0,
    s14 = length,
    s15 = flags
  let m0 = words[0] as number,
    m1 = words[1] as number,
    m2 = words[2] as number,
    m3 = words[3] as number,
    m4 = words[4] as number,
    m5 = words[5] as number,
    m6 = words[6] as number,
    m7 = words[7] as number
  let m8 = words[8] as number,
    m9 = words[9] as number,
    m10 = words[10] as number,
    m11 = words[11] as number,
    m12 = words[12] as number,
    m13 = words[13] as number,
    m14 = words[14] as number,
    m15 = words[15] as number
  for (let round = 0; ; round++) {
    s0 = (s0 + s4 + m0) | 0
    s12 ^= s0
    s12 = (s12 >>> 16) | (s12 << 16)
    s8 = (s8 + s12) | 0
    s4 ^= s8
    s4 = (s4 >>> 12) | (s4 << 20)
    s0 = (s0 + s4 + m1) | 0
    s12 ^= s0
    s12 = (s12 >>> 8) | (s12 << 24)
    s8 = (s8 + s12) | 0
    s4 ^= s8
    s4 = (s4 >>> 7) | (s4 << 25)
    s1 = (s1 + s5 + m2) | 0
    s13 ^= s1
    s13 = (s13 >>> 16) | (s13 << 16)
    s9 = (s9 + s13) | 0
    s5 ^= s9
    s5 = (s5 >>> 12) | (s5 << 20)
    s1 = (s1 + s5 + m3) | 0
    s13 ^= s1
    s13 = (s13 >>> 8) | (s13 << 24)
    s9 = (s9 + s13) | 0
    s5 ^= s9
    s5 = (s5 >>> 7) | (s5 << 25)
    s2 = (s2 + s6 + m4) | 0
    s14 ^= s2
    s14 = (s14 >>> 16) | (s14 << 16)
    s10 = (s10 + s14) | 0
    s6 ^= s10
    s6 = (s6 >>> 12) | (s6 << 20)
    s2 = (s2 + s6 + m5) | 0
    s14 ^= s2
    s14 = (s14 >>> 8) | (s14 << 24)
    s10 = (s10 + s14) | 0
    s6 ^= s10
    s6 = (s6 >>> 7) | (s6 << 25)
    s3 = (s3 + s7 + m6) | 0
    s15 ^= s3
    s15 = (s15 >>> 16) | (s15 << 16)
    s11 = (s11 + s15) | 0
    s7 ^= s11
    s7 = (s7 >>> 12) | (s7 << 20)
    s3 = (s3 + s7 + m7) | 0
    s15 ^= s3
    s15 = (s15 >>> 8) | (s15 << 24)
    s11 = (s11 + s15) | 0
    s7 ^= s11
    s7 = (s7 >>> 7) | (s7 << 25)
    s0 = (s0 + s5 + m8) | 0
    s15 ^= s0
    s15 = (s15 >>> 16) | (s15 << 16)
    s10 = (s10 + s15) | 0
    s5 ^= s10
    s5 = (s5 >>> 12) | (s5 << 20)
    s0 = (s0 + s5 + m9) | 0
    s15 ^= s0
    s15 = (s15 >>> 8) | (s15 << 24)
    s10 = (s10 + s15) | 0
    s5 ^= s10
    s5 = (s5 >>> 7) | (s5 << 25)
    s1 = (s1 + s6 + m10) | 0
    s12 ^= s1
    s12 = (s12 >>> 16) | (s12 << 16)
    s11 = (s11 + s12) | 0
    s6 ^= s11
    s6 = (s6 >>> 12) | (s6 << 20)
    s1 = (s1 + s6 + m11) | 0
    s12 ^= s1
    s12 = (s12 >>> 8) | (s12 << 24)
    s11 = (s11 + s12) | 0
    s6 ^= s11
    s6 = (s6 >>> 7) | (s6 << 25)
    s2 = (s2 + s7 + m12) | 0
    s13 ^= s2
    s13 = (s13 >>> 16) | (s13 << 16)
    s8 = (s8 + s13) | 0
    s7 ^= s8
    s7 = (s7 >>> 12) | (s7 << 20)
    s2 = (s2 + s7 + m13) | 0
    s13 ^= s2
    s13 = (s13 >>> 8) | (s13 << 24)
    s8 = (s8 + s13) | 0
    s7 ^= s8
    s7 = (s7 >>> 7) | (s7 << 25)
    s3 = (s3 + s4 + m14) | 0
    s14 ^= s3
    s14 = (s14 >>> 16) | (s14 << 16)
    s9 = (s9 + s14) | 0
    s4 ^= s9
    s4 = (s4 >>> 12) | (s4 << 20)
    s3 = (s3 + s4 + m15) | 0
    s14 ^= s3
    s14 = (s14 >>> 8) | (s14 << 24)
    s9 = (s9 + s14) | 0
    s4 ^= s9
    s4 = (s4 >>> 7) | (s4 << 25)
    if (round === 6) break
    const t0 = m0
    m0 = m2
    m2 = m3
    m3 = m10
    m10 = m12
    m12 = m9
    m9 = m11
    m11 = m5
    m5 = t0
    const t1 = m1
    m1 = m6
    m6 = m4
    m4 = m7
    m7 = m13
    m13 = m14
    m14 = m15
    m15 = m8
    m8 = t1
  }
  chain[0] = s0 ^ s8
  chain[1] = s1 ^ s9
  chain[2] = s2 ^ s10
  chain[3] = s3 ^ s11
  chain[4] = s4 ^ s12
  chain[5] = s5 ^ s13
  chain[6] = s6 ^ s14
  chain[7] = s7 ^ s15
}

function load(bytes: Uint8Array, offset: number, length: number): void {
  if (offset + BLOCK_LENGTH <= length) {
    for (let i = 0, at = offset; i < 16; i++, at += 4) {
      words[i] =
        (bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24)
    }
    return
  }
  // Behind the end of the input the block is filled with zeros.
  words.fill(0)
  for (let at = offset; at < length; at++) {
    const i = (at - offset) >> 2
    words[i] = (words[i] as number) | ((bytes[at] as number) << (8 * (at & 3)))
  }
}

/**
 * BLAKE3 in hash mode of at most {@link MAX_CHUNK_BYTES} bytes.
 *
 * @param length - How many of the bytes count. Default: all.
 * @returns 32 bytes.
 */
export function blake3Chunk(bytes: Uint8Array, length: number = bytes.length): Uint8Array {
  for (let i = 0; i < 8; i++) chain[i] = IV[i] as number
  const lastBlock = Math.max(0, Math.ceil(length / BLOCK_LENGTH) - 1)
  for (let block = 0; block <= lastBlock; block++) {
    const offset = block * BLOCK_LENGTH
    load(bytes, offset, length)
    const flags = (block === 0 ? CHUNK_START : 0) | (block === lastBlock ? CHUNK_END | ROOT : 0)
    compress(Math.min(BLOCK_LENGTH, length - offset), flags)
  }
  const digest = new Uint8Array(32)
  for (let i = 0; i < 32; i++) digest[i] = (chain[i >> 2] as number) >>> (8 * (i & 3))
  return digest
}
