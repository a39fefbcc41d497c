import { gcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { blake2b } from '@noble/hashes/blake2.js'
import { blake3 } from '@noble/hashes/blake3.js'
import { hmac } from '@noble/hashes/hmac.js'
import { scrypt } from '@noble/hashes/scrypt.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { own } from './backend.ts'
import type { Backend, RunningHash } from './backend.ts'

interface NobleHash {
  update(bytes: Uint8Array): unknown
  digest(): Uint8Array
}

function running(hash: NobleHash): RunningHash {
  return {
    update(bytes) {
      hash.update(bytes)
      return this
    },
    digest: () => own(hash.digest()),
  }
}

function keyedHash(hash: NobleHash, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  for (const part of parts) hash.update(part)
  return own(hash.digest())
}

/** Runs an AEAD that throws on a bad tag. */
function attempt(open: () => Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  try {
    return own(open())
  } catch {
    return undefined
  }
}

const { Point } = ed25519
const GROUP_ORDER = Point.Fn.ORDER

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n
  for (let index = bytes.length - 1; index >= 0; index--) value = (value << 8n) | BigInt(bytes[index] as number)
  return value
}

/** noble's own verify multiplies by the cofactor; RFC 8032 allows both, one rule is needed everywhere. */
function verifyCofactorless(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const s = littleEndian(signature.subarray(32))
  if (s >= GROUP_ORDER) return false
  try {
    const A = Point.fromBytes(publicKey, false)
    const hash = sha512.create().update(signature.subarray(0, 32)).update(publicKey).update(message).digest()
    const k = littleEndian(hash) % GROUP_ORDER
    const R = Point.BASE.multiplyUnsafe(s).add(A.negate().multiplyUnsafe(k)).toBytes()
    return R.every((byte, index) => byte === signature[index])
  } catch {
    return false
  }
}

/** Everything on the noble libraries: the reference, and what runs in a browser. */
export const backend: Backend = {
  name: 'portable',
  sha256: (bytes) => own(sha256(bytes)),
  sha512: (bytes) => own(sha512(bytes)),
  blake2b256: (bytes) => own(blake2b(bytes, { dkLen: 32 })),
  blake3: (bytes) => own(blake3(bytes)),
  createSha256: () => running(sha256.create()),
  createBlake2b256: () => running(blake2b.create({ dkLen: 32 })),
  hmacSha256: (key, parts) => keyedHash(hmac.create(sha256, key), parts),
  hmacSha512: (key, parts) => keyedHash(hmac.create(sha512, key), parts),
  scrypt: (passphrase, salt, { N, r, p, length }) =>
    own(scrypt(passphrase, salt, { N, r, p, dkLen: length, maxmem: 128 * r * (N + p) + 4096 })),
  sealXChaCha20Poly1305(key, nonce, plaintext, aad, out) {
    out.set(xchacha20poly1305(key, nonce, aad).encrypt(plaintext))
  },
  openXChaCha20Poly1305(key, nonce, ciphertext, aad, out) {
    const plaintext = attempt(() => xchacha20poly1305(key, nonce, aad).decrypt(ciphertext))
    if (plaintext === undefined) return false
    out.set(plaintext)
    plaintext.fill(0)
    return true
  },
  sealChaCha20Poly1305: (key, nonce, plaintext, aad) => own(chacha20poly1305(key, nonce, aad).encrypt(plaintext)),
  openChaCha20Poly1305: (key, nonce, ciphertext, aad) =>
    attempt(() => chacha20poly1305(key, nonce, aad).decrypt(ciphertext)),
  sealAes256Gcm: (key, nonce, plaintext, aad, sealed) => sealed.set(gcm(key, nonce, aad).encrypt(plaintext)),
  openAes256Gcm: (key, nonce, ciphertext, aad) => attempt(() => gcm(key, nonce, aad).decrypt(ciphertext)),
  ed25519PublicKey: (seed) => own(ed25519.getPublicKey(seed)),
  ed25519Sign: (seed, message) => own(ed25519.sign(message, seed)),
  ed25519Verify: verifyCofactorless,
  x25519PublicKey: (secret) => own(x25519.getPublicKey(secret)),
  x25519(secret, publicKey) {
    // noble throws where the result is all zero; here that is the caller's to say.
    return attempt(() => x25519.getSharedSecret(secret, publicKey)) ?? new Uint8Array(32)
  },
}
