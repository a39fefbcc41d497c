import { createHash } from 'node:crypto'
import { limits, parseManifest } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSmallFile } from './disk.ts'
import { manifestStem, oldManifestStem } from './layout.ts'
import type { Layout } from './layout.ts'

/** Files of one accepted release. */
export interface KeptFiles {
  readonly manifest: string
  readonly signatures: string
  readonly legacySignature: string
}

function filesAt(stem: string): KeptFiles {
  return { manifest: `${stem}.json`, signatures: `${stem}.sigs.json`, legacySignature: `${stem}.json.sig` }
}

function isOfChannel(bytes: Uint8Array, channel: string): boolean {
  try {
    return (parseManifest(bytes).channel ?? 'stable') === channel
  } catch {
    return false // damaged: nothing is known of it
  }
}

/** One release by its place in a channel, and where that is known, by the hash of its manifest. */
export interface KeptRelease {
  readonly channel: string
  readonly sequence: number
  readonly manifestSha256?: string | undefined
}

/**
 * Finds where the manifest of a release is kept: under its channel, else where launchers before kept it for all
 * channels, if what is there is of this channel.
 */
export async function keptFiles(fs: FileSystem, layout: Layout, release: KeptRelease): Promise<KeptFiles> {
  const files = filesAt(manifestStem(layout, release))
  if (await isRight(fs, files.manifest, release, false)) return files
  const old = filesAt(oldManifestStem(layout, release.sequence))
  return (await isRight(fs, old.manifest, release, true)) ? old : files
}

async function isRight(fs: FileSystem, path: string, release: KeptRelease, isShared: boolean): Promise<boolean> {
  const bytes = await readSmallFile(fs, path, limits.manifestBytes).catch(() => undefined)
  if (bytes === undefined) return false
  const { manifestSha256, channel } = release
  if (manifestSha256 !== undefined) return createHash('sha256').update(bytes).digest('hex') === manifestSha256
  return !isShared || isOfChannel(bytes, channel)
}
