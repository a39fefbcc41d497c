import { join } from 'node:path'
import { limits, parseManifest } from '@keyturn/manifest'
import type { ReleaseManifest } from '@keyturn/manifest'
import { isRecord, parseStrictJson, sha256Hex, utf8Encode } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { look, readSmallFile, writeSmallFile } from './disk.ts'
import type { FileIdentity } from './disk.ts'
import { HashCache } from './hash-cache.ts'
import type { Layout } from './layout.ts'

/** The file of a release that holds its key: no server has it before the release is offered. */
export const keyFile = 'runtime-key.json'

/** What an install keeps about a release that it fetches ahead; docs/spec/launcher.md §3.5. */
export interface PreloadRecord {
  readonly version: string
  readonly sequence: number
  /** SHA-256 of its manifest. */
  readonly sha256: string
  /** When the publisher means to offer it, `YYYY-MM-DDTHH:MM:SSZ`. */
  readonly at: string
  /** Everything is staged and verified. */
  readonly ready: boolean
  /** It does not fit on the volume beside what is installed. */
  readonly full: boolean
}

const MAX_RECORD_BYTES = 16 * 1024

/** Files of the record. */
export function preloadFiles({ preload }: Layout): {
  readonly record: string
  readonly manifest: string
  readonly staged: string
} {
  return {
    record: join(preload, 'release.json'),
    manifest: join(preload, 'manifest.json'),
    staged: join(preload, 'staged.bin'),
  }
}

/** The record; undefined when there is none, or a damaged one: then everything is looked at again. */
export async function readPreload(fs: FileSystem, layout: Layout): Promise<PreloadRecord | undefined> {
  try {
    const bytes = await readSmallFile(fs, preloadFiles(layout).record, MAX_RECORD_BYTES)
    return bytes === undefined ? undefined : parsed(parseStrictJson(bytes, { maxBytes: MAX_RECORD_BYTES }))
  } catch {
    return undefined
  }
}

function parsed(value: unknown): PreloadRecord | undefined {
  if (!isRecord(value) || value['schema'] !== 1) return undefined
  const { version, sequence, sha256, at, ready, full } = value
  if (typeof version !== 'string' || typeof sha256 !== 'string' || typeof at !== 'string') return undefined
  if (typeof sequence !== 'number' || typeof ready !== 'boolean') return undefined
  return { version, sequence, sha256, at, ready, full: full === true }
}

/** Writes the record whole or not at all. */
export async function writePreload(fs: FileSystem, layout: Layout, record: PreloadRecord): Promise<void> {
  const { version, sequence, sha256, at, ready, full } = record
  const text = JSON.stringify({ schema: 1, version, sequence, sha256, at, ready, ...(full ? { full } : {}) })
  await writeSmallFile(fs, preloadFiles(layout).record, utf8Encode(`${text}\n`))
}

/** Literal bytes of the manifest of the release that is fetched ahead. */
export async function readPreloadManifest(
  fs: FileSystem,
  layout: Layout,
  sha256: string,
): Promise<Uint8Array | undefined> {
  const { manifest } = preloadFiles(layout)
  const bytes = await readSmallFile(fs, manifest, limits.manifestBytes).catch(() => undefined)
  return bytes !== undefined && sha256Hex(bytes) === sha256 ? bytes : undefined
}

/** Hashes that the release needs: blobs, and their lists of pieces. */
export interface PreloadBlobs {
  readonly files: ReadonlySet<string>
  readonly indexes: ReadonlySet<string>
}

const NO_BLOBS: PreloadBlobs = { files: new Set(), indexes: new Set() }

/** What other operations leave alone in the staging folder. */
export async function preloadBlobs(fs: FileSystem, layout: Layout): Promise<PreloadBlobs> {
  const { manifest } = preloadFiles(layout)
  const bytes = await readSmallFile(fs, manifest, limits.manifestBytes).catch(() => undefined)
  if (bytes === undefined) return NO_BLOBS
  try {
    return blobsOf(parseManifest(bytes))
  } catch {
    return NO_BLOBS // damaged on disk: its files are fetched again
  }
}

/** As {@link preloadBlobs}, of a manifest at hand. */
export function blobsOf({ files }: Pick<ReleaseManifest, 'files'>): PreloadBlobs {
  return {
    files: new Set(files.map(({ sha256 }) => sha256)),
    indexes: new Set(files.flatMap(({ index }) => index?.sha256 ?? [])),
  }
}

/**
 * Adds staged files that an earlier run verified and nobody touched since, by the facts that a hash cache goes by, so
 * that a release of gigabytes is put in place without reading it again.
 *
 * @param verified - By the place below `.updates`; added to.
 */
export async function addStaged(fs: FileSystem, layout: Layout, verified: Map<string, FileIdentity>): Promise<void> {
  const { files } = await preloadBlobs(fs, layout)
  if (files.size === 0) return
  const cache = await HashCache.load(fs, preloadFiles(layout).staged)
  for (const sha256 of files) {
    const place = `staging/${sha256}`
    if (verified.has(place)) continue
    const found = await look(fs, join(layout.updates, place))
    if (found.kind === 'file' && cache.get(place, found.identity) === sha256) verified.set(place, found.identity)
  }
}

/** Notes which staged files were verified. */
export async function keepStaged(
  fs: FileSystem,
  layout: Layout,
  verified: ReadonlyMap<string, FileIdentity>,
): Promise<void> {
  const { staged } = preloadFiles(layout)
  const { files } = await preloadBlobs(fs, layout)
  const cache = await HashCache.load(fs, staged)
  const places = new Set<string>()
  for (const sha256 of files) {
    const place = `staging/${sha256}`
    const identity = verified.get(place)
    if (identity === undefined) continue
    places.add(place)
    cache.set(place, identity, sha256)
  }
  cache.keepOnly(places)
  await cache.save(fs, staged)
}
