import { blake2b256, ed25519Verify, equalBytes, sha256 } from '@keyturn/primitives'
import { defaultLimits } from './limits.ts'
import { checkSource } from './source.ts'
import type { ByteSource } from './source.ts'

/** How a header may be laid out: where its numbers are, what they cover, and what hashes and verifies. */
export interface RawLayout {
  /** Bytes of each of the two numbers. */
  readonly width: 4 | 8
  /** Where in the file the number is that says where the manifest starts. */
  readonly offsetAt: number
  /** Where the number is that says how long it is. */
  readonly sizeAt: number
  /** The range that the two name. */
  readonly manifestOffset: number
  readonly manifestSize: number
  /** Where in the header the hash of that range is, and which hash it is. */
  readonly hashAt: number
  readonly hash: 'blake2b-256' | 'sha-256'
  /** Where in the header a signature verifies and over what; absent without public key or when none does. */
  readonly signatureAt?: number
  readonly signed?: 'manifest' | 'hash'
}

/** What a look at a file of unknown layout found. */
export interface RawInspection {
  readonly size: number
  /** First bytes of the file, up to 256. */
  readonly head: Uint8Array
  /** First bytes of the manifest of the best layout, up to 256. */
  readonly manifestHead: Uint8Array | undefined
  /** Layouts whose range hashes to something in the header; those that also verify first. */
  readonly layouts: readonly RawLayout[]
  /** Whether exactly one layout hashes and verifies: then nothing is left to guess. */
  readonly settled: boolean
}

const HEAD_BYTES = 256
const STEP = 4

/** Reads a little-endian number, `undefined` beyond the head or over 2^53 - 1. */
function number(head: Uint8Array, at: number, width: 4 | 8): number | undefined {
  if (at + width > head.length) return undefined
  const view = new DataView(head.buffer, head.byteOffset)
  const value = width === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true))
  return Number.isSafeInteger(value) ? value : undefined
}

interface Range {
  readonly width: 4 | 8
  readonly offsetAt: number
  readonly sizeAt: number
  readonly manifestOffset: number
  readonly manifestSize: number
}

/** Every pair of neighbouring numbers that names a range of the file, in both orders and both widths. */
function* ranges(head: Uint8Array, size: number): Generator<Range> {
  for (const width of [8, 4] as const) {
    for (let at = 0; at + 2 * width <= head.length; at += STEP) {
      for (const [offsetAt, sizeAt] of [
        [at, at + width],
        [at + width, at],
      ] as const) {
        const manifestOffset = number(head, offsetAt, width)
        const manifestSize = number(head, sizeAt, width)
        if (manifestOffset === undefined || manifestSize === undefined) continue
        if (manifestSize === 0 || manifestSize > defaultLimits.manifestBytes || manifestOffset + manifestSize > size)
          continue
        yield { width, offsetAt, sizeAt, manifestOffset, manifestSize }
      }
    }
  }
}

function find(head: Uint8Array, wanted: Uint8Array): number {
  for (let at = 0; at + wanted.length <= head.length; at++)
    if (equalBytes(head.subarray(at, at + wanted.length), wanted)) return at
  return -1
}

function findSignature(
  head: Uint8Array,
  manifest: Uint8Array,
  hash: Uint8Array,
  publicKey: Uint8Array,
): Pick<RawLayout, 'signatureAt' | 'signed'> {
  for (let at = 0; at + 64 <= head.length; at += STEP) {
    const signature = head.subarray(at, at + 64)
    if (ed25519Verify(publicKey, manifest, signature)) return { signatureAt: at, signed: 'manifest' }
    if (ed25519Verify(publicKey, hash, signature)) return { signatureAt: at, signed: 'hash' }
  }
  return {}
}

/**
 * Looks at a file whose exact layout is not known, such as one of the original packer: tries every layout that its
 * published properties allow, and says which ranges hash and verify. With the public key one file settles it.
 *
 * @param publicKey - `signing.pub` of the maker of the file.
 */
export async function inspectRaw(source: ByteSource, publicKey?: Uint8Array): Promise<RawInspection> {
  checkSource(source)
  const head = Uint8Array.from(await source.read(0, Math.min(HEAD_BYTES, source.size)))
  const layouts: RawLayout[] = []
  const seen = new Set<string>()
  for (const range of ranges(head, source.size)) {
    const key = `${range.manifestOffset} ${range.manifestSize} ${range.offsetAt}`
    if (seen.has(key)) continue
    seen.add(key)
    const manifest = await source.read(range.manifestOffset, range.manifestSize)
    for (const [name, hash] of [
      ['blake2b-256', blake2b256(manifest)],
      ['sha-256', sha256(manifest)],
    ] as const) {
      const hashAt = find(head, hash)
      if (hashAt < 0) continue
      const signature = publicKey === undefined ? {} : findSignature(head, manifest, hash, publicKey)
      layouts.push({ ...range, hashAt, hash: name, ...signature })
    }
  }
  layouts.sort((left, right) => Number(right.signed !== undefined) - Number(left.signed !== undefined))
  const [best] = layouts
  const manifestHead =
    best === undefined
      ? undefined
      : Uint8Array.from(await source.read(best.manifestOffset, Math.min(HEAD_BYTES, best.manifestSize)))
  return {
    size: source.size,
    head,
    manifestHead,
    layouts,
    settled: layouts.filter(({ signed }) => signed !== undefined).length === 1,
  }
}
