import { x448 } from '@noble/curves/ed448.js'
import { blake2s } from '@noble/hashes/blake2.js'
import {
  blake2b512,
  openAes256Gcm,
  openChaCha20Poly1305,
  requireMembers,
  requireText,
  sealAes256Gcm,
  sealChaCha20Poly1305,
  sha256,
  sha512,
  systemRandom,
  wipe,
  x25519,
  x25519PublicKey,
} from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { handshakePattern } from './patterns.ts'
import type { HandshakePattern } from './patterns.ts'

/** A Diffie-Hellman function of the Noise specification, §12. */
export interface DhFunction {
  readonly keyLength: number
  publicKey(secretKey: Uint8Array): Uint8Array
  /** Throws on an all-zero result. */
  agree(secretKey: Uint8Array, publicKey: Uint8Array): Uint8Array
}

/** A cipher function: 32-byte key, 64-bit counter nonce, 16-byte tag. */
export interface CipherFunction {
  seal(key: Uint8Array, nonce: bigint, aad: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** Throws when the tag does not fit. */
  open(key: Uint8Array, nonce: bigint, aad: Uint8Array, ciphertext: Uint8Array): Uint8Array
}

/** A hash function with its HMAC. */
export interface HashFunction {
  readonly hashLength: number
  hash(bytes: Uint8Array): Uint8Array
  /** HMAC under a key no longer than one block. */
  hmac(key: Uint8Array, ...parts: Uint8Array[]): Uint8Array
}

/** A full protocol: pattern and the three functions. */
export interface NoiseProtocol {
  /** Full name, `Noise_IK_25519_ChaChaPoly_BLAKE2s` for example. */
  readonly name: string
  readonly pattern: HandshakePattern
  readonly dh: DhFunction
  readonly cipher: CipherFunction
  readonly hash: HashFunction
}

/** A key pair whose public half is computed once: computing it again for each handshake doubles the time. */
export interface NoiseKeyPair {
  readonly secretKey: Uint8Array
  readonly publicKey: Uint8Array
}

const DH_FUNCTIONS: Readonly<Record<string, DhFunction>> = {
  25519: { keyLength: 32, publicKey: x25519PublicKey, agree: x25519 },
  448: {
    keyLength: 56,
    publicKey: (secretKey) => x448.getPublicKey(secretKey),
    agree: (secretKey, publicKey) => x448.getSharedSecret(secretKey, publicKey),
  },
}

const CIPHER_FUNCTIONS: Readonly<Record<string, CipherFunction>> = {
  ChaChaPoly: {
    seal: (key, nonce, aad, plaintext) => sealChaCha20Poly1305(key, counterNonce(nonce, true), plaintext, { aad }),
    open: (key, nonce, aad, ciphertext) => openChaCha20Poly1305(key, counterNonce(nonce, true), ciphertext, { aad }),
  },
  AESGCM: {
    seal: (key, nonce, aad, plaintext) => sealAes256Gcm(key, counterNonce(nonce, false), plaintext, { aad }),
    open: (key, nonce, aad, ciphertext) => openAes256Gcm(key, counterNonce(nonce, false), ciphertext, { aad }),
  },
}

const HASH_FUNCTIONS: Readonly<Record<string, HashFunction>> = {
  SHA256: withHmac(32, 64, sha256),
  SHA512: withHmac(64, 128, sha512),
  BLAKE2s: withHmac(32, 64, (bytes) => blake2s(bytes)),
  BLAKE2b: withHmac(64, 128, blake2b512),
}

/**
 * HMAC from two calls of the hash: a handshake makes thirty of a block or two each, and setting up a native HMAC costs
 * several times what hashing that little does.
 */
function withHmac(hashLength: number, blockLength: number, hash: (bytes: Uint8Array) => Uint8Array): HashFunction {
  return {
    hashLength,
    hash,
    hmac(key, ...parts) {
      if (key.length > blockLength) throw new RangeError(`key: wanted at most ${blockLength} bytes`)
      const inner = new Uint8Array(parts.reduce((sum, part) => sum + part.length, blockLength))
      const outer = new Uint8Array(blockLength + hashLength)
      for (let at = 0; at < blockLength; at += 1) {
        const byte = key[at] ?? 0
        inner[at] = byte ^ 0x36
        outer[at] = byte ^ 0x5c
      }
      let end = blockLength
      for (const part of parts) {
        inner.set(part, end)
        end += part.length
      }
      outer.set(hash(inner), blockLength)
      const result = hash(outer)
      wipe(inner, outer)
      return result
    },
  }
}

/**
 * Takes a protocol name apart.
 *
 * @throws {@link NoiseKeysError} `NK_HANDSHAKE` for a name that is none, or that is not supported.
 * @example `noiseProtocol('Noise_NK_25519_ChaChaPoly_SHA256')`
 */
export function noiseProtocol(name: string): NoiseProtocol {
  requireText(name, 'name')
  const [prefix, pattern, dhName = '', cipherName = '', hashName = '', ...rest] = name.split('_')
  const dh = pick(DH_FUNCTIONS, dhName)
  const cipher = pick(CIPHER_FUNCTIONS, cipherName)
  const hash = pick(HASH_FUNCTIONS, hashName)
  if (prefix !== 'Noise' || pattern === undefined || rest.length > 0 || !dh || !cipher || !hash) {
    throw new NoiseKeysError('NK_HANDSHAKE', `"${name.slice(0, 64)}" is not a supported Noise protocol`)
  }
  return { name, pattern: handshakePattern(pattern), dh, cipher, hash }
}

/**
 * Makes a key pair.
 *
 * @param dh - Function of the protocol.
 * @param secretKey - Kept, not copied; drawn from `random` when absent.
 */
export function noiseKeyPair(
  dh: DhFunction,
  secretKey?: Uint8Array,
  random: RandomSource = systemRandom,
): NoiseKeyPair {
  requireMembers(dh, 'dh', ['keyLength', 'publicKey'])
  const secret = secretKey ?? random(dh.keyLength)
  if (secret.length !== dh.keyLength)
    throw new NoiseKeysError('NK_KEY', `Secret key has ${secret.length} bytes, wanted ${dh.keyLength}`)
  return { secretKey: secret, publicKey: dh.publicKey(secret) }
}

/** Four zero bytes, then the counter: little-endian for ChaChaPoly, big-endian for AESGCM (§12.3, §12.4). */
function counterNonce(counter: bigint, littleEndian: boolean): Uint8Array {
  const nonce = new Uint8Array(12)
  new DataView(nonce.buffer).setBigUint64(4, counter, littleEndian)
  return nonce
}

function pick<Value>(table: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}
