import { createSha256, requireText } from '@keyturn/primitives'
import { nodeFileSystem, onDisk } from '@keyturn/primitives/node'
import { join } from 'node:path'
import { diffTrees } from '../diff.ts'
import type { DiffSide, TreeDiff } from '../diff.ts'
import type { TrustOptions } from '../verifiers.ts'
import { withArchiveFile } from './archive-file.ts'
import { openFileSource } from './file-source.ts'
import { walkFolder } from './walk.ts'
import type { WalkOptions } from './walk.ts'

/** Options of {@link diffPaths}. */
export interface DiffPathsOptions extends WalkOptions {
  /** Verifiers of archives; default `'unchecked'`: stops at the hash. */
  readonly verifiers?: TrustOptions['verifiers']
}

/** What {@link diffPaths} found. */
export interface DiffPathsResult extends TreeDiff {
  /** Whether the signature of each archive among the two was checked. */
  readonly signatureChecked: boolean
}

const PIECE_BYTES = 1024 * 1024

async function hashFile(root: string, path: string, signal: AbortSignal | undefined): Promise<DiffSide> {
  const source = await openFileSource(join(root, path))
  const hash = createSha256()
  try {
    for (let offset = 0; offset < source.size; offset += PIECE_BYTES) {
      signal?.throwIfAborted()
      hash.update(await source.read(offset, Math.min(PIECE_BYTES, source.size - offset)))
    }
    return { path, size: source.size, sha256: hash.digest() }
  } finally {
    await source.close()
  }
}

async function readSide(path: string, options: DiffPathsOptions): Promise<DiffSide[]> {
  const stats = await onDisk('Cannot read', path, () => nodeFileSystem.stat(path))
  if (!stats.isDirectory()) {
    return withArchiveFile(path, { verifiers: options.verifiers ?? 'unchecked' }, (archive) => [...archive.entries])
  }
  const sides: DiffSide[] = []
  for (const file of (await walkFolder(path, options)).sort()) sides.push(await hashFile(path, file, options.signal))
  return sides
}

/** Compares two trees, each a folder or an archive; no content key is needed. */
export async function diffPaths(left: string, right: string, options: DiffPathsOptions = {}): Promise<DiffPathsResult> {
  requireText(left, 'left')
  requireText(right, 'right')
  const diff = diffTrees(await readSide(left, options), await readSide(right, options))
  return { ...diff, signatureChecked: options.verifiers !== undefined && options.verifiers !== 'unchecked' }
}
