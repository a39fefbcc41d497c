import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  hash,
  scryptSync,
  sign,
  verify,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { createRequire } from 'node:module'
import { own } from './backend.ts'
import type { Backend, RunningHash } from './backend.ts'
import type { Sodium } from './sodium.ts'

const TAG_LENGTH = 16
const PIECE = 128 * 1024
/** Below this a native cipher of Node costs more to set up than the encryption itself takes in plain code. */
const SMALL_MESSAGE_BYTES = 2048
/** From here on the cipher of OpenSSL, which sets up slowly, overtakes that of libsodium. */
const LARGE_MESSAGE_BYTES = 16 * 1024
const load = createRequire(import.meta.url)

let noble: Backend | undefined

/**
 * The portable backend, loaded when first needed: noble would take half the time that a thread spends on loading
 * modules.
 */
function portable(): Backend {
  noble ??= load(import.meta.url.endsWith('.ts') ? './portable.ts' : './portable.js') as Backend
  return noble
}

/** What only noble can do here. */
const portableParts = {
  blake2b256: (bytes) => portable().blake2b256(bytes),
  blake3: (bytes) => portable().blake3(bytes),
  createBlake2b256: () => portable().createBlake2b256(),
  sealXChaCha20Poly1305: (...input) => portable().sealXChaCha20Poly1305(...input),
  openXChaCha20Poly1305: (...input) => portable().openXChaCha20Poly1305(...input),
} satisfies Partial<Backend>

function loadSodium(): Sodium | undefined {
  try {
    return load('sodium-native') as Sodium
  } catch {
    // Optional dependency: there may be no binary for this platform (such as musl), or it was left out on purpose.
    return undefined
  }
}

let hasBlake2b: boolean | undefined

/** As {@link nodeHasChaCha}: not every runtime with this interface has the hash. */
function nodeHasBlake2b(): boolean {
  if (hasBlake2b !== undefined) return hasBlake2b
  try {
    hash('blake2b512', new Uint8Array(0), 'buffer')
    hasBlake2b = true
  } catch {
    hasBlake2b = false
  }
  return hasBlake2b
}

let hasChaCha: boolean | undefined

/** Runtimes on BoringSSL (Electron, Bun) have everything here but this cipher, and say so only when it is used. */
function nodeHasChaCha(): boolean {
  if (hasChaCha !== undefined) return hasChaCha
  try {
    createCipheriv('chacha20-poly1305', new Uint8Array(32), new Uint8Array(12), { authTagLength: TAG_LENGTH })
    hasChaCha = true
  } catch {
    hasChaCha = false
  }
  return hasChaCha
}

/** What Node does alone. */
const node = {
  sha256: (bytes) => own(hash('sha256', bytes, 'buffer')),
  sha512: (bytes) => own(hash('sha512', bytes, 'buffer')),
  blake2b512: (bytes) => (nodeHasBlake2b() ? own(hash('blake2b512', bytes, 'buffer')) : portable().blake2b512(bytes)),
  createSha256() {
    const running = createHash('sha256')
    return {
      update(bytes: Uint8Array) {
        running.update(bytes)
        return this
      },
      digest: () => own(running.digest()),
    } satisfies RunningHash
  },
  hmacSha256: (key, parts) => nodeHmac('sha256', key, parts),
  hmacSha512: (key, parts) => nodeHmac('sha512', key, parts),
  scrypt: (passphrase, salt, { N, r, p, length }) =>
    own(scryptSync(passphrase, salt, length, { N, r, p, maxmem: 128 * r * (N + p) + 4096 })),
  sealChaCha20Poly1305(key, nonce, plaintext, aad) {
    if (plaintext.length <= SMALL_MESSAGE_BYTES || !nodeHasChaCha())
      return portable().sealChaCha20Poly1305(key, nonce, plaintext, aad)
    const sealed = new Uint8Array(plaintext.length + TAG_LENGTH)
    nodeSeal('chacha20-poly1305', { key, nonce, aad }, plaintext, sealed)
    return sealed
  },
  openChaCha20Poly1305: (key, nonce, ciphertext, aad) =>
    ciphertext.length > SMALL_MESSAGE_BYTES && nodeHasChaCha()
      ? nodeOpen('chacha20-poly1305', { key, nonce, aad }, ciphertext)
      : portable().openChaCha20Poly1305(key, nonce, ciphertext, aad),
  sealAes256Gcm: (key, nonce, plaintext, { aad, out }) => nodeSeal('aes-256-gcm', { key, nonce, aad }, plaintext, out),
  openAes256Gcm: (key, nonce, ciphertext, aad) => nodeOpen('aes-256-gcm', { key, nonce, aad }, ciphertext),
  ed25519PublicKey: (seed) => rawPublicKey(privateKey('ed25519', seed)),
  ed25519Sign: (seed, message) => own(sign(null, message, privateKey('ed25519', seed))),
  ed25519Verify: (key, message, signature) => verify(null, message, publicKey('ed25519', key), signature),
  x25519PublicKey: (secret) => rawPublicKey(privateKey('x25519', secret)),
  x25519(secret, key) {
    try {
      return own(diffieHellman({ privateKey: privateKey('x25519', secret), publicKey: publicKey('x25519', key) }))
    } catch {
      // OpenSSL refuses an all-zero result; the caller reports it.
      return new Uint8Array(32)
    }
  },
} satisfies Partial<Backend>

function nodeHmac(name: 'sha256' | 'sha512', key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const hmac = createHmac(name, createSecretKey(key)) // raw keys take a slow path: 20 us a call
  for (const part of parts) hmac.update(part)
  return own(hmac.digest())
}

type NodeAead = 'chacha20-poly1305' | 'aes-256-gcm'

// The types of the two algorithms differ in Node's declarations only, not in use.
const AEAD_OPTIONS = { authTagLength: TAG_LENGTH }

interface AeadInput {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly aad: Uint8Array
}

function nodeSeal(name: NodeAead, { key, nonce, aad }: AeadInput, plaintext: Uint8Array, sealed: Uint8Array): void {
  const cipher = createCipheriv(name as 'aes-256-gcm', createSecretKey(key), nonce, AEAD_OPTIONS) // as above
  cipher.setAAD(aad, { plaintextLength: plaintext.length })
  // Node allocates memory for each update. In pieces, it reuses memory that is still in the cache, and copying costs
  // almost nothing.
  for (let start = 0; start < plaintext.length; start += PIECE) {
    sealed.set(cipher.update(plaintext.subarray(start, start + PIECE)), start)
  }
  cipher.final()
  sealed.set(cipher.getAuthTag(), plaintext.length)
}

function nodeOpen(
  name: NodeAead,
  { key, nonce, aad }: AeadInput,
  ciphertext: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined {
  const length = ciphertext.length - TAG_LENGTH
  const decipher = createDecipheriv(name as 'aes-256-gcm', createSecretKey(key), nonce, AEAD_OPTIONS)
  decipher.setAAD(aad, { plaintextLength: length })
  decipher.setAuthTag(ciphertext.subarray(length))
  const plaintext = decipher.update(ciphertext.subarray(0, length))
  try {
    decipher.final()
    // Ciphers return memory of their own. Copy only if some version of Node returns a slice of its pool.
    if (plaintext.buffer.byteLength === plaintext.length) return new Uint8Array(plaintext.buffer)
    return own(plaintext)
  } catch {
    plaintext.fill(0)
    return undefined
  }
}

// DER prefixes of RFC 8410: SubjectPublicKeyInfo and PKCS#8 around a bare 32-byte key.
const OID_LAST_BYTE = { ed25519: 0x70, x25519: 0x6e } as const

function publicKey(curve: 'ed25519' | 'x25519', raw: Uint8Array): KeyObject {
  const prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, OID_LAST_BYTE[curve], 0x03, 0x21, 0x00]
  return createPublicKey({ key: Buffer.from([...prefix, ...raw]), format: 'der', type: 'spki' })
}

function privateKey(curve: 'ed25519' | 'x25519', raw: Uint8Array): KeyObject {
  const prefix = [
    0x30,
    0x2e,
    0x02,
    0x01,
    0x00,
    0x30,
    0x05,
    0x06,
    0x03,
    0x2b,
    0x65,
    OID_LAST_BYTE[curve],
    0x04,
    0x22,
    0x04,
    0x20,
  ]
  const der = Buffer.from([...prefix, ...raw])
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  } finally {
    der.fill(0)
  }
}

function rawPublicKey(key: KeyObject): Uint8Array<ArrayBuffer> {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return own(spki.subarray(spki.length - 32))
}

/** What libsodium does faster, or what Node cannot do at all (BLAKE2b-256, XChaCha20). */
function sodiumBackend(sodium: Sodium): Partial<Backend> {
  return { ...sodiumHashes(sodium), ...sodiumCiphers(sodium), ...sodiumCurves(sodium) }
}

function sodiumCurves(sodium: Sodium): Partial<Backend> {
  const withSecretKey = <Result>(
    seed: Uint8Array,
    use: (secretKey: Uint8Array, key: Uint8Array<ArrayBuffer>) => Result,
  ): Result => {
    const key = new Uint8Array(32)
    const secretKey = new Uint8Array(64)
    try {
      sodium.crypto_sign_seed_keypair(key, secretKey, seed)
      return use(secretKey, key)
    } finally {
      secretKey.fill(0)
    }
  }
  return {
    ed25519PublicKey: (seed) => withSecretKey(seed, (_, key) => key),
    ed25519Sign: (seed, message) =>
      withSecretKey(seed, (secretKey) => {
        const signature = new Uint8Array(64)
        sodium.crypto_sign_detached(signature, message, secretKey)
        return signature
      }),
    ed25519Verify: (key, message, signature) => sodium.crypto_sign_verify_detached(signature, message, key),
    x25519PublicKey(secret) {
      const key = new Uint8Array(32)
      sodium.crypto_scalarmult_base(key, secret)
      return key
    },
    x25519(secret, key) {
      const shared = new Uint8Array(32)
      try {
        sodium.crypto_scalarmult(shared, secret, key)
        return shared
      } catch {
        return new Uint8Array(32)
      }
    },
  }
}

function sodiumHashes(sodium: Sodium): Partial<Backend> {
  return {
    blake2b256(bytes) {
      const digest = new Uint8Array(32)
      sodium.crypto_generichash(digest, bytes)
      return digest
    },
    blake2b512(bytes) {
      const digest = new Uint8Array(64)
      sodium.crypto_generichash(digest, bytes)
      return digest
    },
    createBlake2b256() {
      const state = new Uint8Array(sodium.crypto_generichash_STATEBYTES)
      sodium.crypto_generichash_init(state, null, 32)
      return {
        update(bytes: Uint8Array) {
          if (bytes.length > 0) sodium.crypto_generichash_update(state, bytes)
          return this
        },
        digest() {
          const digest = new Uint8Array(32)
          sodium.crypto_generichash_final(state, digest)
          return digest
        },
      } satisfies RunningHash
    },
  }
}

function sodiumCiphers(sodium: Sodium): Partial<Backend> {
  const isForNode = (length: number): boolean => length > LARGE_MESSAGE_BYTES && nodeHasChaCha()
  return {
    sealChaCha20Poly1305(key, nonce, plaintext, aad) {
      if (isForNode(plaintext.length)) return node.sealChaCha20Poly1305(key, nonce, plaintext, aad)
      const sealed = new Uint8Array(plaintext.length + TAG_LENGTH)
      sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, plaintext, aad, null, nonce, key)
      return sealed
    },
    openChaCha20Poly1305(key, nonce, ciphertext, aad) {
      if (isForNode(ciphertext.length)) return node.openChaCha20Poly1305(key, nonce, ciphertext, aad)
      const plaintext = new Uint8Array(ciphertext.length - TAG_LENGTH)
      try {
        sodium.crypto_aead_chacha20poly1305_ietf_decrypt(plaintext, null, ciphertext, aad, nonce, key)
        return plaintext
      } catch {
        return undefined
      }
    },
    sealXChaCha20Poly1305(key, nonce, plaintext, { aad, out }) {
      sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(out, plaintext, aad, null, nonce, key)
    },
    openXChaCha20Poly1305(key, nonce, ciphertext, { aad, out }) {
      try {
        sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(out, null, ciphertext, aad, nonce, key)
        return true
      } catch {
        return false
      }
    },
  }
}

function choose(): Backend {
  // Lets anyone compare both backends, or keep working where a native module misbehaves.
  if (process.env['KEYTURN_BACKEND'] === 'portable') return portable()
  const sodium = loadSodium()
  return { ...portableParts, ...node, ...(sodium === undefined ? {} : sodiumBackend(sodium)), name: 'accelerated' }
}

// node:crypto and libsodium where they are faster than noble, noble for the rest. The names are those of portable.ts.
export const {
  name,
  sha256,
  sha512,
  blake2b256,
  blake2b512,
  blake3,
  createSha256,
  createBlake2b256,
  hmacSha256,
  hmacSha512,
  scrypt,
  sealXChaCha20Poly1305,
  openXChaCha20Poly1305,
  sealChaCha20Poly1305,
  openChaCha20Poly1305,
  sealAes256Gcm,
  openAes256Gcm,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  x25519PublicKey,
  x25519,
}: Backend = choose()
