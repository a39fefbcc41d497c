// Everything on the noble libraries: the reference, and what runs in a browser. One exported function for each job, and
// not an object of them, so that a bundle holds only what is called.
import { gcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 as nobleX25519 } from '@noble/curves/ed25519.js'
import { blake2b } from '@noble/hashes/blake2.js'
import { blake3 as nobleBlake3 } from '@noble/hashes/blake3.js'
import { hmac } from '@noble/hashes/hmac.js'
import { scrypt as nobleScrypt } from '@noble/hashes/scrypt.js'
import { sha256 as nobleSha256, sha512 as nobleSha512 } from '@noble/hashes/sha2.js'
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

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n
  for (let index = bytes.length - 1; index >= 0; index--) value = (value << 8n) | BigInt(bytes[index] as number)
  return value
}

export const name: Backend['name'] = 'portable'

export const sha256: Backend['sha256'] = (bytes) => own(nobleSha256(bytes))

export const sha512: Backend['sha512'] = (bytes) => own(nobleSha512(bytes))

export const blake2b256: Backend['blake2b256'] = (bytes) => own(blake2b(bytes, { dkLen: 32 }))

export const blake2b512: Backend['blake2b512'] = (bytes) => own(blake2b(bytes, { dkLen: 64 }))

export const blake3: Backend['blake3'] = (bytes) => own(nobleBlake3(bytes))

export const createSha256: Backend['createSha256'] = () => running(nobleSha256.create())

export const createBlake2b256: Backend['createBlake2b256'] = () => running(blake2b.create({ dkLen: 32 }))

export const hmacSha256: Backend['hmacSha256'] = (key, parts) => keyedHash(hmac.create(nobleSha256, key), parts)

export const hmacSha512: Backend['hmacSha512'] = (key, parts) => keyedHash(hmac.create(nobleSha512, key), parts)

export const scrypt: Backend['scrypt'] = (passphrase, salt, { N, r, p, length }) =>
  own(nobleScrypt(passphrase, salt, { N, r, p, dkLen: length, maxmem: 128 * r * (N + p) + 4096 }))

export const sealXChaCha20Poly1305: Backend['sealXChaCha20Poly1305'] = (key, nonce, plaintext, { aad, out }) =>
  out.set(xchacha20poly1305(key, nonce, aad).encrypt(plaintext))

export const openXChaCha20Poly1305: Backend['openXChaCha20Poly1305'] = (key, nonce, ciphertext, { aad, out }) => {
  const plaintext = attempt(() => xchacha20poly1305(key, nonce, aad).decrypt(ciphertext))
  if (plaintext === undefined) return false
  out.set(plaintext)
  plaintext.fill(0)
  return true
}

export const sealChaCha20Poly1305: Backend['sealChaCha20Poly1305'] = (key, nonce, plaintext, aad) =>
  own(chacha20poly1305(key, nonce, aad).encrypt(plaintext))

export const openChaCha20Poly1305: Backend['openChaCha20Poly1305'] = (key, nonce, ciphertext, aad) =>
  attempt(() => chacha20poly1305(key, nonce, aad).decrypt(ciphertext))

export const sealAes256Gcm: Backend['sealAes256Gcm'] = (key, nonce, plaintext, { aad, out }) =>
  out.set(gcm(key, nonce, aad).encrypt(plaintext))

export const openAes256Gcm: Backend['openAes256Gcm'] = (key, nonce, ciphertext, aad) =>
  attempt(() => gcm(key, nonce, aad).decrypt(ciphertext))

export const ed25519PublicKey: Backend['ed25519PublicKey'] = (seed) => own(ed25519.getPublicKey(seed))

export const ed25519Sign: Backend['ed25519Sign'] = (seed, message) => own(ed25519.sign(message, seed))

/** noble's own verify multiplies by the cofactor; RFC 8032 allows both, one rule is needed everywhere. */
export const ed25519Verify: Backend['ed25519Verify'] = (publicKey, message, signature) => {
  const { Point } = ed25519
  const groupOrder = Point.Fn.ORDER
  const s = littleEndian(signature.subarray(32))
  if (s >= groupOrder) return false
  try {
    const A = Point.fromBytes(publicKey, false)
    const hash = nobleSha512.create().update(signature.subarray(0, 32)).update(publicKey).update(message).digest()
    const k = littleEndian(hash) % groupOrder
    const R = Point.BASE.multiplyUnsafe(s).add(A.negate().multiplyUnsafe(k)).toBytes()
    return R.every((byte, index) => byte === signature[index])
  } catch {
    return false
  }
}

export const x25519PublicKey: Backend['x25519PublicKey'] = (secret) => own(nobleX25519.getPublicKey(secret))

// noble throws where the result is all zero; here the caller refuses that.
export const x25519: Backend['x25519'] = (secret, publicKey) =>
  attempt(() => nobleX25519.getSharedSecret(secret, publicKey)) ?? new Uint8Array(32)
