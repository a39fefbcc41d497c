import {
  concatBytes,
  openXChaCha20Poly1305,
  Reader,
  scrypt,
  sealXChaCha20Poly1305,
  systemRandom,
  wipe,
  Writer,
} from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { passphraseBytes, passphraseForms } from '@keyturn/vault-kdf/passphrase'
import { PublisherError } from '../errors.ts'

// A sealed stream, docs/spec/home.md §3. Integers little-endian.
//
// offset  size  field
//  0      8     magic "KTBACKU1"
//  8      1     log2 of scrypt's N     9  1  r     10  1  p     11  1  zero
// 12     32     salt
// 44     16     nonce prefix
// 60            chunks: 1 MiB of plaintext and a tag each, the last one shorter
//
// Chunk i: nonce = prefix ‖ u64 i, AAD = the 60 header bytes ‖ u8 1 for the last chunk, else 0. A stream that ends
// without its last chunk does not open.

const MAGIC = new TextEncoder().encode('KTBACKU1')
const HEADER_BYTES = 60
const CHUNK_BYTES = 1024 * 1024
const TAG_BYTES = 16
const SCRYPT_R = 8
/** What a reader lets a file ask for: 1 GiB of memory. */
const MAX_LOG_N = 20

/** Options of {@link sealStream}. */
export interface SealOptions {
  /** log2 of scrypt's N; default 17. */
  readonly scryptLogN?: number | undefined
  readonly random?: RandomSource | undefined
}

/**
 * Seals a stream under a passphrase.
 *
 * @param passphrase - Not modified.
 * @param plaintext - In pieces of any size.
 * @param options - Cost and randomness.
 */
export async function* sealStream(
  passphrase: Uint8Array,
  plaintext: AsyncIterable<Uint8Array>,
  { scryptLogN = 17, random = systemRandom }: SealOptions = {},
): AsyncGenerator<Uint8Array> {
  const salt = random(32)
  const prefix = random(16)
  const header = new Writer(HEADER_BYTES)
    .bytes(MAGIC)
    .u8(scryptLogN)
    .u8(SCRYPT_R)
    .u8(1)
    .u8(0)
    .bytes(salt)
    .bytes(prefix)
    .finish()
  const form = passphraseBytes(passphrase)
  const key = scrypt(form, salt, { N: 2 ** scryptLogN, r: SCRYPT_R, p: 1, length: 32 })
  wipe(form)
  try {
    yield header
    let index = 0n
    let held: Uint8Array | undefined
    for await (const chunk of chunked(plaintext)) {
      if (held !== undefined)
        yield sealXChaCha20Poly1305(key, nonceOf(prefix, index++), held, { aad: aadOf(header, false) })
      held = chunk
    }
    yield sealXChaCha20Poly1305(key, nonceOf(prefix, index), held ?? new Uint8Array(0), { aad: aadOf(header, true) })
  } finally {
    wipe(key)
  }
}

/**
 * Opens a sealed stream. Each piece is authenticated before it is given out; a stream that was cut throws at its end.
 *
 * @param passphrase - Not modified.
 * @param sealed - In pieces of any size.
 * @throws {@link PublisherError} `CLI_BACKUP`, whatever is wrong.
 */
export async function* openStream(
  passphrase: Uint8Array,
  sealed: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const source = new ByteQueue(sealed)
  const header = await source.take(HEADER_BYTES)
  const { prefix } = parseHeader(header)
  const first = await source.take(CHUNK_BYTES + TAG_BYTES)
  const isOnly = await source.isEmpty()
  const { key, opened } = openFirst(passphrase, header, first, isOnly)
  try {
    yield opened
    let last = isOnly
    for (let index = 1n; !last; index += 1n) {
      const chunk = await source.take(CHUNK_BYTES + TAG_BYTES)
      last = await source.isEmpty()
      yield openChunk(key, nonceOf(prefix, index), chunk, aadOf(header, last))
    }
  } finally {
    wipe(key)
  }
}

/** The key of the first form of the passphrase that opens: earlier versions took the passphrase as it was typed. */
function openFirst(
  passphrase: Uint8Array,
  header: Uint8Array,
  chunk: Uint8Array,
  isOnly: boolean,
): { key: Uint8Array; opened: Uint8Array } {
  const { salt, prefix, logN, r, p } = parseHeader(header)
  const forms = passphraseForms(passphrase)
  try {
    let failure: unknown
    for (const form of forms) {
      const key = scrypt(form, salt, { N: 2 ** logN, r, p, length: 32 })
      try {
        return { key, opened: openChunk(key, nonceOf(prefix, 0n), chunk, aadOf(header, isOnly)) }
      } catch (error) {
        wipe(key)
        failure ??= error
      }
    }
    throw failure ?? new PublisherError('CLI_BACKUP', 'The passphrase of the backup is empty')
  } finally {
    wipe(...forms)
  }
}

function openChunk(key: Uint8Array, nonce: Uint8Array, chunk: Uint8Array, aad: Uint8Array): Uint8Array {
  try {
    return openXChaCha20Poly1305(key, nonce, chunk, { aad })
  } catch (cause) {
    throw new PublisherError('CLI_BACKUP', 'The backup does not open: wrong passphrase, or it was cut or changed', {
      cause,
      hint: 'A backup has a passphrase of its own, unless it was made with that of the home',
    })
  }
}

function parseHeader(header: Uint8Array): { salt: Uint8Array; prefix: Uint8Array; logN: number; r: number; p: number } {
  const refuse = (): PublisherError => new PublisherError('CLI_BACKUP', 'This is not a backup of a home')
  if (header.length !== HEADER_BYTES) throw refuse()
  const reader = new Reader(header, refuse)
  reader.expect(MAGIC, 'magic')
  const logN = reader.u8('logN', { max: MAX_LOG_N })
  const r = reader.u8('r', { max: SCRYPT_R })
  const p = reader.u8('p', { max: 4 })
  reader.zeros(1, 'reserved')
  const salt = reader.bytes(32, 'salt')
  const prefix = reader.bytes(16, 'nonce prefix')
  if (logN < 1 || r < 1 || p < 1) throw refuse()
  return { salt, prefix, logN, r, p }
}

function nonceOf(prefix: Uint8Array, index: bigint): Uint8Array {
  return new Writer(24).bytes(prefix).u64le(index).finish()
}

function aadOf(header: Uint8Array, last: boolean): Uint8Array {
  return concatBytes(header, new Uint8Array([last ? 1 : 0]))
}

async function* chunked(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = new ByteQueue(pieces)
  while (!(await source.isEmpty())) yield await source.take(CHUNK_BYTES)
}

/** Cuts a stream into pieces of the size asked for. */
export class ByteQueue {
  readonly #pieces: AsyncIterator<Uint8Array>
  #held: Uint8Array[] = []
  #length = 0
  #ended = false

  /** @param pieces - The stream. */
  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** Whether nothing is left. */
  async isEmpty(): Promise<boolean> {
    await this.#fill(1)
    return this.#length === 0
  }

  /** Up to `length` bytes; fewer only at the end. */
  async take(length: number): Promise<Uint8Array> {
    await this.#fill(length)
    const all = this.#held.length === 1 && this.#held[0] !== undefined ? this.#held[0] : concatBytes(...this.#held)
    const taken = all.subarray(0, length)
    const rest = all.subarray(taken.length)
    this.#held = rest.length === 0 ? [] : [rest]
    this.#length = rest.length
    return taken
  }

  async #fill(length: number): Promise<void> {
    while (!this.#ended && this.#length < length) {
      const { done, value } = await this.#pieces.next()
      if (done === true) this.#ended = true
      else {
        this.#held.push(value)
        this.#length += value.length
      }
    }
  }
}
