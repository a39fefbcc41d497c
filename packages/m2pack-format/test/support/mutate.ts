import { blake2b256, concatBytes, ed25519Sign, equalBytes, sha256 } from '@keyturn/primitives'
import { zstdCompressSync } from 'node:zlib'
import { M2pError, memorySource, openArchive, defaultLimits } from '../../src/index.ts'
import { parseHeader } from '../../src/header.ts'
import { checkLayout } from '../../src/layout.ts'
import { parseManifest } from '../../src/manifest.ts'
import { contentKey, craft, plainFiles, seed as signingSeed, text, verifiers } from './craft.ts'
import { craft2, plainFiles2 } from './craft-v2.ts'

/** A small generator that a seed decides (mulberry32). */
export type Random = () => number

export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let value = Math.imul(state ^ (state >>> 15), state | 1)
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61)
    return (value ^ (value >>> 14)) >>> 0
  }
}

const parts = [new Uint8Array(65_536).fill(1), text('tail of a large file')]
const compressed = text('compressible '.repeat(40))

/** Sound archives that mutations start from. */
export const bases: readonly Uint8Array[] = [
  craft(),
  craft({ files: [] }),
  craft2(),
  craft2({ files: [] }),
  craft2({ files: plainFiles2().map((file) => ({ ...file, mtimeMs: 1 })), head: { mtimes: true } }),
  craft({
    files: [
      { path: 'ünï/é', parts: [text('x')] },
      { path: 'd:/ymir work/a.b', parts: [text('y')], slot: 2 },
    ].sort((left, right) => Buffer.compare(Buffer.from(left.path), Buffer.from(right.path))),
  }),
  craft({
    files: [
      {
        path: 'large',
        parts: parts.map((part) => new Uint8Array(zstdCompressSync(part))),
        size: 65_556,
        compression: 'zstd',
        digest: sha256(concatBytes(...parts)),
      },
    ],
  }),
  craft({
    files: [
      ...plainFiles(),
      {
        path: 'z',
        parts: [new Uint8Array(zstdCompressSync(compressed))],
        size: compressed.length,
        compression: 'zstd' as const,
        digest: sha256(compressed),
      },
    ],
  }),
]

const edges = [
  0, 1, 2, 15, 16, 17, 63, 64, 127, 128, 255, 256, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
]

/** Damages bytes in one of the ways that readers get wrong. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let out = bytes.slice()
  for (let count = 1 + (random() % 3); count > 0 && out.length > 0; count--) {
    const at = random() % out.length
    const view = new DataView(out.buffer, out.byteOffset)
    const edge = edges[random() % edges.length] as number
    const kind = random() % 9
    if (kind < 2) out[at]! ^= 1 << (random() & 7)
    else if (kind === 2) out[at] = random() & 255
    else if (kind === 3 && at + 4 <= out.length) view.setUint32(at, edge, true)
    else if (kind === 4 && at + 2 <= out.length) view.setUint16(at, edge, true)
    else if (kind === 5 && at + 8 <= out.length) view.setBigUint64(at, BigInt(edge) << BigInt(random() % 48), true)
    else if (kind === 6) out = out.slice(0, at)
    else if (kind === 7) out = concatBytes(out.subarray(0, at), out.subarray(random() % out.length))
    else out.copyWithin(at, random() % out.length, (random() % 64) + 1)
  }
  return out
}

function split(archive: Uint8Array): { payload: Uint8Array; manifest: Uint8Array } {
  const at = Number(new DataView(archive.buffer, archive.byteOffset).getBigUint64(16, true))
  return { payload: archive.subarray(128, at), manifest: archive.subarray(at) }
}

/** One run of the parser alone: a damaged manifest that nobody signed. Whether it was accepted. */
export function fuzzParser(random: Random): boolean {
  const base = bases[random() % bases.length] as Uint8Array
  const { manifest } = split(base)
  const damaged = mutate(manifest, random)
  try {
    const header = parseHeader(
      random() % 4 === 0 ? mutate(base.subarray(0, 128), random) : base.subarray(0, 128),
      undefined,
      defaultLimits,
    )
    const { table } = parseManifest(damaged, header, { ...defaultLimits, entryCount: 1000 })
    checkLayout({ ...header, manifestSize: damaged.length }, table?.entries ?? [], undefined)
    return true
  } catch (error) {
    if (error instanceof M2pError) return false
    throw error
  }
}

function signed(payload: Uint8Array, manifest: Uint8Array, original: Uint8Array): Uint8Array {
  const header = original.slice(0, 128)
  const view = new DataView(header.buffer)
  view.setBigUint64(16, BigInt(128 + payload.length), true)
  view.setBigUint64(24, BigInt(manifest.length), true)
  header.set(blake2b256(manifest), 32)
  header.set(ed25519Sign(signingSeed, manifest), 64)
  return concatBytes(header, payload, manifest)
}

/** One run of opening and reading: damaged payload, or damaged manifest signed again. Whether every file was read. */
export async function fuzzOpen(random: Random): Promise<boolean> {
  const base = bases[random() % bases.length] as Uint8Array
  const { payload, manifest } = split(base)
  const where = random() % 3
  const archive =
    where === 0
      ? mutate(base, random)
      : signed(where === 1 ? mutate(payload, random) : payload, where === 2 ? mutate(manifest, random) : manifest, base)
  try {
    const opened = await openArchive(memorySource(archive), { verifiers, contentKey })
    for (const entry of opened.entries) {
      const bytes = await opened.read(entry.path)
      if (!equalBytes(sha256(bytes), entry.sha256)) throw new Error("Bytes came out that are not the publisher's")
    }
    return true
  } catch (error) {
    if (error instanceof M2pError) return false
    throw error
  }
}
