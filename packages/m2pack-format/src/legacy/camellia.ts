// Camellia-256 (RFC 3713), encryption only: counter mode needs no more. Halves of 64-bit words are kept apart, as
// 32-bit integers; BigInt would be twenty times slower.

const SBOX = Uint8Array.from([
  112, 130, 44, 236, 179, 39, 192, 229, 228, 133, 87, 53, 234, 12, 174, 65, 35, 239, 107, 147, 69, 25, 165, 33, 237, 14,
  79, 78, 29, 101, 146, 189, 134, 184, 175, 143, 124, 235, 31, 206, 62, 48, 220, 95, 94, 197, 11, 26, 166, 225, 57, 202,
  213, 71, 93, 61, 217, 1, 90, 214, 81, 86, 108, 77, 139, 13, 154, 102, 251, 204, 176, 45, 116, 18, 43, 32, 240, 177,
  132, 153, 223, 76, 203, 194, 52, 126, 118, 5, 109, 183, 169, 49, 209, 23, 4, 215, 20, 88, 58, 97, 222, 27, 17, 28, 50,
  15, 156, 22, 83, 24, 242, 34, 254, 68, 207, 178, 195, 181, 122, 145, 36, 8, 232, 168, 96, 252, 105, 80, 170, 208, 160,
  125, 161, 137, 98, 151, 84, 91, 30, 149, 224, 255, 100, 210, 16, 196, 0, 72, 163, 247, 117, 219, 138, 3, 230, 218, 9,
  63, 221, 148, 135, 92, 131, 2, 205, 74, 144, 51, 115, 103, 246, 243, 157, 127, 191, 226, 82, 155, 216, 38, 200, 55,
  198, 59, 129, 150, 111, 75, 19, 190, 99, 46, 233, 121, 167, 140, 159, 110, 188, 142, 41, 245, 249, 182, 47, 253, 180,
  89, 120, 152, 6, 106, 231, 70, 113, 186, 212, 37, 171, 66, 136, 162, 141, 250, 114, 7, 185, 85, 248, 238, 172, 10, 54,
  73, 42, 104, 60, 56, 241, 164, 64, 40, 211, 123, 187, 201, 67, 193, 21, 227, 173, 244, 119, 199, 128, 158,
])

const SIGMA = [
  [0xa09e667f, 0x3bcc908b],
  [0xb67ae858, 0x4caa73b2],
  [0xc6ef372f, 0xe94f82be],
  [0x54ff53a5, 0xf1d36f1c],
  [0x10e527fa, 0xde682d1d],
  [0xb05688c2, 0xb3e6c1fd],
] as const

/** A 64-bit word: high half, low half. */
type Word = readonly [number, number]
/** 128 bits: four 32-bit parts, highest first. */
type Block = readonly [number, number, number, number]

const s1 = (byte: number): number => SBOX[byte] as number
const s2 = (byte: number): number => ((s1(byte) << 1) | (s1(byte) >> 7)) & 255
const s3 = (byte: number): number => ((s1(byte) << 7) | (s1(byte) >> 1)) & 255
const s4 = (byte: number): number => s1(((byte << 1) | (byte >> 7)) & 255)

function f(high: number, low: number, key: Word): Word {
  const x = high ^ key[0]
  const y = low ^ key[1]
  const t1 = s1(x >>> 24),
    t2 = s2((x >>> 16) & 255),
    t3 = s3((x >>> 8) & 255),
    t4 = s4(x & 255)
  const t5 = s2(y >>> 24),
    t6 = s3((y >>> 16) & 255),
    t7 = s4((y >>> 8) & 255),
    t8 = s1(y & 255)
  const z1 = t1 ^ t3 ^ t4 ^ t6 ^ t7 ^ t8
  const z2 = t1 ^ t2 ^ t4 ^ t5 ^ t7 ^ t8
  const z3 = t1 ^ t2 ^ t3 ^ t5 ^ t6 ^ t8
  const z4 = t2 ^ t3 ^ t4 ^ t5 ^ t6 ^ t7
  const z5 = t1 ^ t2 ^ t6 ^ t7 ^ t8
  const z6 = t2 ^ t3 ^ t5 ^ t7 ^ t8
  const z7 = t3 ^ t4 ^ t5 ^ t6 ^ t8
  const z8 = t1 ^ t4 ^ t5 ^ t6 ^ t7
  return [(z1 << 24) | (z2 << 16) | (z3 << 8) | z4, (z5 << 24) | (z6 << 16) | (z7 << 8) | z8]
}

function rotate1(value: number): number {
  return (value << 1) | (value >>> 31)
}

function fl([high, low]: Word, key: Word): Word {
  const right = low ^ rotate1(high & key[0])
  return [high ^ (right | key[1]), right]
}

function flInverse([high, low]: Word, key: Word): Word {
  const left = high ^ (low | key[1])
  return [left, low ^ rotate1(left & key[0])]
}

function rotate(block: Block, bits: number): Block {
  const words = bits >> 5
  const rest = bits & 31
  const part = (index: number): number => {
    const high = block[(index + words) & 3] as number
    const low = block[(index + words + 1) & 3] as number
    return rest === 0 ? high : (high << rest) | (low >>> (32 - rest))
  }
  return [part(0), part(1), part(2), part(3)]
}

const left = (block: Block): Word => [block[0], block[1]]
const right = (block: Block): Word => [block[2], block[3]]
const xor = (a: Block, b: Block): Block => [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]]

function twoRounds(block: Block, first: Word, second: Word): Block {
  const [a, b] = f(block[0], block[1], first)
  const low: Word = [block[2] ^ a, block[3] ^ b]
  const [c, d] = f(low[0], low[1], second)
  return [block[0] ^ c, block[1] ^ d, low[0], low[1]]
}

/** A Camellia-256 key schedule. */
export class Camellia256 {
  readonly #rounds: readonly Word[]
  readonly #between: readonly Word[]
  readonly #white: readonly Word[]

  /** @param key - 32 bytes. */
  constructor(key: Uint8Array) {
    const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
    const word = (at: number): number => view.getInt32(at * 4)
    const kl: Block = [word(0), word(1), word(2), word(3)]
    const kr: Block = [word(4), word(5), word(6), word(7)]
    let ka = twoRounds(xor(kl, kr), SIGMA[0], SIGMA[1])
    ka = twoRounds(xor(ka, kl), SIGMA[2], SIGMA[3])
    const kb = twoRounds(xor(ka, kr), SIGMA[4], SIGMA[5])
    const pair = (block: Block, bits: number): Word[] => [left(rotate(block, bits)), right(rotate(block, bits))]
    this.#white = [...pair(kl, 0), ...pair(kb, 111)]
    this.#rounds = [
      ...pair(kb, 0),
      ...pair(kr, 15),
      ...pair(ka, 15),
      ...pair(kb, 30),
      ...pair(kl, 45),
      ...pair(ka, 45),
      ...pair(kr, 60),
      ...pair(kb, 60),
      ...pair(kl, 77),
      ...pair(kr, 94),
      ...pair(ka, 94),
      ...pair(kl, 111),
    ]
    this.#between = [...pair(kr, 30), ...pair(kl, 60), ...pair(ka, 77)]
  }

  #key(list: readonly Word[], index: number): Word {
    return list[index] as Word
  }

  /** Encrypts one block of 16 bytes. */
  encrypt(input: Uint8Array): Uint8Array {
    const view = new DataView(input.buffer, input.byteOffset, 16)
    const [w1, w2, w3, w4] = [
      this.#key(this.#white, 0),
      this.#key(this.#white, 1),
      this.#key(this.#white, 2),
      this.#key(this.#white, 3),
    ]
    let a: Word = [view.getInt32(0) ^ w1[0], view.getInt32(4) ^ w1[1]]
    let b: Word = [view.getInt32(8) ^ w2[0], view.getInt32(12) ^ w2[1]]
    for (let round = 0; round < 24; round += 2) {
      if (round > 0 && round % 6 === 0) {
        const at = round / 3 - 2
        a = fl(a, this.#key(this.#between, at))
        b = flInverse(b, this.#key(this.#between, at + 1))
      }
      const [c, d] = f(a[0], a[1], this.#key(this.#rounds, round))
      b = [b[0] ^ c, b[1] ^ d]
      const [e, g] = f(b[0], b[1], this.#key(this.#rounds, round + 1))
      a = [a[0] ^ e, a[1] ^ g]
    }
    const output = new Uint8Array(16)
    const out = new DataView(output.buffer)
    for (const [index, value] of [b[0] ^ w3[0], b[1] ^ w3[1], a[0] ^ w4[0], a[1] ^ w4[1]].entries())
      out.setInt32(index * 4, value)
    return output
  }
}

/** Camellia-256 in counter mode: one keystream that goes on from call to call. */
export class CamelliaCtr {
  readonly #cipher: Camellia256
  readonly #counter: Uint8Array
  #block = new Uint8Array(16)
  #used = 16

  /**
   * @param key - 32 bytes.
   * @param iv - 16 bytes, the first counter.
   */
  constructor(key: Uint8Array, iv: Uint8Array) {
    this.#cipher = new Camellia256(key)
    this.#counter = Uint8Array.from(iv)
  }

  /** Encrypts or decrypts the next bytes; fresh memory. */
  apply(bytes: Uint8Array): Uint8Array {
    return Uint8Array.from(bytes, (byte) => {
      if (this.#used === 16) this.#next()
      return byte ^ (this.#block[this.#used++] as number)
    })
  }

  #next(): void {
    this.#block = this.#cipher.encrypt(this.#counter) as Uint8Array<ArrayBuffer>
    this.#used = 0
    for (let at = 15; at >= 0; at--) {
      this.#counter[at] = ((this.#counter[at] as number) + 1) & 255
      if (this.#counter[at] !== 0) return
    }
  }
}
