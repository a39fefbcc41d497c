import { equalBytes, openXChaCha20Poly1305, PrimitivesError, sealXChaCha20Poly1305, wipe } from '@keyturn/primitives'
import { zstd } from '#zstd'
import type { PlainForm, SegmentRecord } from './entries.ts'
import { M2pError } from './errors.ts'
import { segmentAad } from './keys.ts'
import type { SlotKey } from './keys.ts'
import { roomFor } from './buffer-size.ts'
import { checkZstdFrame } from './zstd-frame.ts'

/** Plaintexts below this are stored as they are. */
const MIN_COMPRESSIBLE_BYTES = 64
/** Least saving that compression must bring. */
const MIN_SAVED_BYTES = 64
const MIN_SAVED_PERCENT = 3

/** A sealed segment. */
export interface SealedSegment {
  /** 24 bytes. */
  readonly nonce: Uint8Array
  /** Ciphertext and tag. */
  readonly stored: Uint8Array
}

/**
 * Compresses when that saves at least 3 % and 64 bytes. In version 1 the first segment decides for its file, in version
 * 2 each for itself.
 *
 * @returns The compressed segment, or `undefined` when it is stored as it is.
 */
export function compressIfWorthwhile(plain: Uint8Array, level: number): Uint8Array | undefined {
  if (plain.length < MIN_COMPRESSIBLE_BYTES) return undefined
  const compressed = zstd.compress(plain, level)
  const saved = plain.length - compressed.length
  return saved >= MIN_SAVED_BYTES && saved * 100 >= plain.length * MIN_SAVED_PERCENT ? compressed : undefined
}

/** Compresses a further segment of a file whose first one was compressed. */
export function compressSegment(plain: Uint8Array, level: number): Uint8Array {
  return zstd.compress(plain, level)
}

/** What keys, nonces and additional data of version 1 depend on beside slot and path. */
export interface WholeFile {
  /** Of the whole plaintext. */
  readonly sha256: Uint8Array
  readonly segmentCount: number
}

/** Seals and opens the segments of one file: docs/spec/m2pack.md §3, m2pack-v2.md §2. Wipe it after use. */
export class FileCipher {
  readonly #slot: SlotKey
  readonly #path: Uint8Array
  readonly #key: Uint8Array
  /** Absent in version 2, where a segment does not depend on the rest of its file. */
  readonly #whole: WholeFile | undefined
  #scratch: Scratch | undefined

  /**
   * @param slot - Used while the cipher lives.
   * @param path - UTF-8 of the path.
   * @param whole - For version 1; without it the cipher is of version 2.
   */
  constructor(slot: SlotKey, path: Uint8Array, whole?: WholeFile) {
    this.#slot = slot
    this.#path = path
    this.#key = whole === undefined ? slot.fileKey2(path) : slot.fileKey(path, whole.sha256)
    this.#whole = whole
  }

  #nonce(index: number, bytes: Uint8Array): Uint8Array {
    if (this.#whole === undefined) return this.#slot.nonce2(this.#path, bytes)
    return this.#slot.nonce(this.#path, index, this.#whole.segmentCount, bytes)
  }

  #aad(index: number): Uint8Array {
    return this.#whole === undefined ? this.#path : segmentAad(this.#path, index, this.#whole.segmentCount)
  }

  /**
   * Seals what is to be stored of segment `index`.
   *
   * @param out - Where the stored bytes go; fresh memory when absent.
   */
  seal(index: number, bytes: Uint8Array, out?: Uint8Array): SealedSegment {
    const nonce = this.#nonce(index, bytes)
    return { nonce, stored: this.sealUnder(index, bytes, nonce, out) }
  }

  /** Seals under a nonce that is already known. Apart from `seal` only for tests: other input wants another nonce. */
  sealUnder(index: number, bytes: Uint8Array, nonce: Uint8Array, out?: Uint8Array): Uint8Array {
    const aad = this.#aad(index)
    return sealXChaCha20Poly1305(this.#key, nonce, bytes, { aad, out })
  }

  /**
   * Opens segment `index`: the tag first, then the nonce, which has to be the one that the content gives, then
   * decompression to exactly the expected size.
   *
   * @throws {@link M2pError} `M2P_DECRYPT`, `M2P_NONCE`, `M2P_ZSTD`, `M2P_SIZE`, `M2P_LIMIT`.
   */
  open(index: number, stored: Uint8Array, record: SegmentRecord, plain: PlainForm): Uint8Array {
    const bytes = this.#decrypt(index, stored, record.nonce)
    if (!equalBytes(this.#nonce(index, bytes), record.nonce)) {
      throw new M2pError('M2P_NONCE', `Segment ${index} opens, but its nonce is not the one its content gives`, {
        details: { segment: index },
      })
    }
    return expand(bytes, plain, this.#scratch)
  }

  /**
   * As {@link open}, in version 1 without a look at the nonce: only for callers that check the SHA-256 of the whole
   * file before anyone gets its bytes.
   */
  openHashed(index: number, stored: Uint8Array, record: SegmentRecord, plain: PlainForm): Uint8Array {
    if (this.#whole === undefined) return this.open(index, stored, record, plain)
    return expand(this.#decrypt(index, stored, record.nonce), plain, this.#scratch)
  }

  /**
   * Opens into memory that is used again and again from now on: each result is good until the next call.
   *
   * @returns This cipher.
   */
  using(scratch: Scratch): this {
    this.#scratch = scratch
    return this
  }

  /**
   * Whether stored bytes are the ones that the publisher sealed: the tag fits, and the nonce, which the manifest's
   * signature covers, is the one that this content gives. So what the bytes decompress to is the content that was
   * packed then, and nothing has to be decompressed to know it.
   */
  isGenuine(index: number, stored: Uint8Array, nonce: Uint8Array): boolean {
    try {
      const bytes = this.#decrypt(index, stored, nonce)
      return equalBytes(this.#nonce(index, bytes), nonce)
    } catch (error) {
      if (error instanceof M2pError) return false
      throw error
    }
  }

  #decrypt(index: number, stored: Uint8Array, nonce: Uint8Array): Uint8Array {
    const aad = this.#aad(index)
    try {
      return openXChaCha20Poly1305(this.#key, nonce, stored, { aad, out: this.#scratch?.opened(stored.length) })
    } catch (error) {
      if (!(error instanceof PrimitivesError)) throw error
      throw new M2pError('M2P_DECRYPT', `Segment ${index} does not open under its key`, {
        details: { segment: index },
        cause: error,
      })
    }
  }

  /** Wipes the file key. */
  wipe(): void {
    wipe(this.#key)
  }
}

/** Memory that one thread opens segments in, one after the other. */
export class Scratch {
  #opened = new Uint8Array(64 * 1024)
  #plain = new Uint8Array(64 * 1024)

  /** Room for decrypted bytes. */
  opened(length: number): Uint8Array {
    if (this.#opened.length < length) this.#opened = new Uint8Array(roomFor(length))
    return this.#opened
  }

  /** Room for plaintext. */
  plain(length: number): Uint8Array {
    if (this.#plain.length < length) this.#plain = new Uint8Array(roomFor(length))
    return this.#plain
  }
}

function expand(bytes: Uint8Array, { compression, size }: PlainForm, scratch: Scratch | undefined): Uint8Array {
  if (compression === 'none') {
    if (bytes.length !== size) throw new M2pError('M2P_SIZE', `A segment holds ${bytes.length} bytes, expected ${size}`)
    return bytes
  }
  checkZstdFrame(bytes, size)
  let plain: Uint8Array
  try {
    plain = zstd.decompress(bytes, size, scratch?.plain(size))
  } catch (cause) {
    throw new M2pError('M2P_ZSTD', 'Cannot decompress segment: the frame is malformed', { cause })
  }
  if (plain.length !== size) throw new M2pError('M2P_SIZE', `A segment gives ${plain.length} bytes, expected ${size}`)
  return plain
}

/** @throws {@link M2pError} `M2P_HASH`. */
export function checkHash(actual: Uint8Array, expected: Uint8Array, path: string): void {
  if (!equalBytes(actual, expected)) {
    throw new M2pError('M2P_HASH', `The content of "${path}" does not have the SHA-256 that the manifest names`, {
      details: { path },
    })
  }
}
