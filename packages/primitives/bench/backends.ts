/**
 * What the accelerated backend costs over its floor (one bare native call), and what the portable one costs over it.
 */
import { createRequire } from 'node:module'
import { hash } from 'node:crypto'
import { parseStrictJson, systemRandom } from '@keyturn/primitives'
import * as accelerated from '../src/backend/accelerated.ts'
import * as portable from '../src/backend/portable.ts'
import type { Sodium } from '../src/backend/sodium.ts'

const SLICE_MS = 150
const ROUNDS = 5

function rate(work: () => unknown): number {
  const start = performance.now()
  let count = 0
  do {
    work()
    count++
  } while (performance.now() - start < SLICE_MS)
  return count / (performance.now() - start)
}

/** Median of how many times slower `ours` is than `floor`, taken in turns. */
function slowdown(ours: () => unknown, floor: () => unknown): number {
  const ratios = Array.from({ length: ROUNDS }, () => {
    const bare = rate(floor)
    return bare / rate(ours)
  })
  return ratios.sort((a, b) => a - b)[ROUNDS >> 1] as number
}

const sodium = createRequire(import.meta.url)('sodium-native') as Sodium
const [key, nonce, message] = [systemRandom(32), systemRandom(24), systemRandom(65_536)]
const out = new Uint8Array(message.length + 16)
const digest = new Uint8Array(32)
const signature = accelerated.ed25519Sign(key, message.subarray(0, 200))
const publicKey = accelerated.ed25519PublicKey(key)
const text = Buffer.from(
  JSON.stringify(
    Array.from({ length: 5_000 }, (_, index) => ({ path: `a/b/${index}`, size: index, sha256: 'ab'.repeat(32) })),
  ),
)
const none = new Uint8Array(0)

const rows: readonly [string, string, () => unknown, () => unknown, (() => unknown)?][] = [
  [
    'XChaCha20-Poly1305, 64 KiB',
    'libsodium',
    () => accelerated.sealXChaCha20Poly1305(key, nonce, message, { aad: none, out }),
    () => sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(out, message, null, null, nonce, key),
    () => portable.sealXChaCha20Poly1305(key, nonce, message, { aad: none, out }),
  ],
  [
    'BLAKE2b-256, 64 KiB',
    'libsodium',
    () => accelerated.blake2b256(message),
    () => sodium.crypto_generichash(digest, message),
    () => portable.blake2b256(message),
  ],
  [
    'SHA-256, 64 KiB',
    'node:crypto',
    () => accelerated.sha256(message),
    () => hash('sha256', message, 'buffer'),
    () => portable.sha256(message),
  ],
  [
    'Ed25519 verify, 200 bytes',
    'libsodium',
    () => accelerated.ed25519Verify(publicKey, message.subarray(0, 200), signature),
    () => sodium.crypto_sign_verify_detached(signature, message.subarray(0, 200), publicKey),
    () => portable.ed25519Verify(publicKey, message.subarray(0, 200), signature),
  ],
  [
    'strict JSON, 0.5 MB',
    'JSON.parse',
    () => parseStrictJson(text, { maxDepth: 16 }),
    () => JSON.parse(text.toString('utf8')) as unknown,
  ],
]

console.log('times slower than the bare call, median of 5, accelerated | portable')
for (const [name, floor, ours, bare, noble] of rows) {
  const slow = noble === undefined ? '' : ` | ${slowdown(noble, bare).toFixed(1)}`
  console.log(`${name.padEnd(28)} ${floor.padEnd(12)} ${slowdown(ours, bare).toFixed(2)}${slow}`)
}
