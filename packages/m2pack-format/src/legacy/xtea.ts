const DELTA = 0x9e3779b9
const ROUNDS = 32

/** Four 32-bit words. */
export type XteaKey = readonly [number, number, number, number]

/** Decrypts XTEA in 8-byte blocks (ECB, little-endian words); bytes behind the last whole block stay as they are. */
export function decryptXtea(bytes: Uint8Array, key: XteaKey): Uint8Array {
  const output = Uint8Array.from(bytes)
  const view = new DataView(output.buffer)
  for (let at = 0; at + 8 <= output.length; at += 8) {
    let v0 = view.getUint32(at, true)
    let v1 = view.getUint32(at + 4, true)
    let sum = Math.imul(DELTA, ROUNDS) >>> 0
    for (let round = 0; round < ROUNDS; round++) {
      v1 = (v1 - ((((v0 << 4) ^ (v0 >>> 5)) + v0) ^ (sum + (key[(sum >>> 11) & 3] as number)))) >>> 0
      sum = (sum - DELTA) >>> 0
      v0 = (v0 - ((((v1 << 4) ^ (v1 >>> 5)) + v1) ^ (sum + (key[sum & 3] as number)))) >>> 0
    }
    view.setUint32(at, v0, true)
    view.setUint32(at + 4, v1, true)
  }
  return output
}
