const P = 2n ** 255n - 19n

function inverse(value: bigint): bigint {
  let result = 1n
  let base = ((value % P) + P) % P
  for (let exponent = P - 2n; exponent > 0n; exponent >>= 1n) {
    if ((exponent & 1n) === 1n) result = (result * base) % P
    base = (base * base) % P
  }
  return result
}

/**
 * The X25519 key that did:key derives from an Ed25519 key for key agreement: the birational map u = (1 + y) / (1 - y).
 * It takes public keys only, so its timing reveals nothing.
 *
 * @param publicKey - Ed25519 public key, canonical and of large order.
 */
export function keyAgreementOf(publicKey: Uint8Array): Uint8Array {
  const y = publicKey.reduceRight((value, byte, at) => (value << 8n) | BigInt(at === 31 ? byte & 0x7f : byte), 0n)
  let u = ((1n + y) * inverse(1n - y)) % P
  const bytes = new Uint8Array(32)
  for (let at = 0; at < 32; at++) {
    bytes[at] = Number(u & 0xffn)
    u >>= 8n
  }
  return bytes
}
