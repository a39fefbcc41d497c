import { matchesGlob, type ManifestFile, type ReleaseManifest } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { FolderGuard, hashFile, inParallel, look, placeInside } from './disk.ts'
import type { HashCache } from './hash-cache.ts'
import { type Layout, updatesFolder } from './layout.ts'

/** A file to be written. */
export interface PlannedWrite {
  readonly file: ManifestFile
  /** Whether something lies there now. */
  readonly existed: boolean
}

/** What has to change on disk. */
export interface Plan {
  readonly writes: readonly PlannedWrite[]
  readonly removals: readonly string[]
  /** Files that the release dropped but the user changed: left alone. */
  readonly kept: readonly string[]
  /** Files that stay as they are. */
  readonly unchanged: readonly ManifestFile[]
}

/** What a plan is made from. */
export interface PlanInput {
  readonly fs: FileSystem
  readonly layout: Layout
  /** The files of the release that concern this machine. */
  readonly files: readonly ManifestFile[]
  readonly manifest: Pick<ReleaseManifest, 'delete' | 'keep'>
  /** What the installed manifest listed; only these are ever removed unasked. */
  readonly installedFiles: readonly ManifestFile[]
  /** `undefined`: every file is read. */
  readonly cache: HashCache | undefined
  readonly concurrency: number
  readonly signal?: AbortSignal | undefined
  readonly onBytes?: ((count: number) => void) | undefined
  readonly onFile?: (() => void) | undefined
}

/**
 * Whether the file at `path` is the one the manifest names. Size first, then the cache, then its bytes.
 *
 * @throws LauncherError `LA_SYMLINK` when a folder above it is a link.
 */
async function compare(input: PlanInput, guard: FolderGuard, file: ManifestFile): Promise<'same' | 'different' | 'absent'> {
  if (!(await guard.parentsAreReal(file.path))) return 'absent'
  const place = placeInside(input.layout.root, file.path)
  const found = await look(input.fs, place)
  if (found.kind === 'nothing') return 'absent'
  if (found.kind === 'other') {
    if (found.what === 'folder' && (await input.fs.readdir(place)).length > 0) {
      throw new LauncherError('LA_SYMLINK', `Cannot install "${file.path}": a folder with files in it is in its place`, { details: { path: file.path } })
    }
    return 'different' // a link or special file is replaced, never followed
  }
  if (found.identity.size !== file.size) {
    input.onBytes?.(file.size)
    return 'different'
  }
  const known = input.cache?.get(file.path, found.identity)
  if (known !== undefined) {
    input.onBytes?.(file.size)
    return known === file.sha256 ? 'same' : 'different'
  }
  const hashed = await hashFile(input.fs, place, { signal: input.signal, onBytes: input.onBytes })
  input.cache?.set(file.path, hashed.identity, hashed.sha256)
  return hashed.sha256 === file.sha256 ? 'same' : 'different'
}

async function planRemovals(input: PlanInput, guard: FolderGuard): Promise<{ removals: string[]; kept: string[] }> {
  const stays = new Set(input.files.map((file) => file.path))
  const listed = new Map(input.installedFiles.map((file) => [file.path, file]))
  const removals: string[] = []
  const kept: string[] = []
  const isProtected = (path: string): boolean => input.manifest.keep.some((glob) => matchesGlob(glob, path))
  for (const [path, file] of listed) {
    if (stays.has(path) || isProtected(path)) continue
    const stands = await compare(input, guard, file)
    if (stands === 'same') removals.push(path)
    else if (stands === 'different') kept.push(path)
  }
  for (const path of input.manifest.delete) {
    if (stays.has(path) || isProtected(path) || removals.includes(path)) continue
    if (path === updatesFolder || path.startsWith(`${updatesFolder}/`) || !(await guard.parentsAreReal(path))) continue
    const found = await look(input.fs, placeInside(input.layout.root, path))
    if (found.kind === 'file' || (found.kind === 'other' && found.what === 'link')) removals.push(path)
  }
  return { removals, kept }
}

/** Compares a release with what lies on disk. */
export async function makePlan(input: PlanInput): Promise<Plan> {
  const guard = new FolderGuard(input.layout.root, input.fs)
  const writes: PlannedWrite[] = []
  const unchanged: ManifestFile[] = []
  await inParallel(input.files, input.concurrency, async (file) => {
    input.signal?.throwIfAborted()
    const stands = await compare(input, guard, file)
    input.onFile?.()
    const isUsers = stands !== 'absent' && input.manifest.keep.some((glob) => matchesGlob(glob, file.path))
    if (stands === 'same' || isUsers) unchanged.push(file)
    else writes.push({ file, existed: stands === 'different' })
  })
  const byPath = (a: string, b: string): number => (a < b ? -1 : 1)
  writes.sort((a, b) => byPath(a.file.path, b.file.path))
  unchanged.sort((a, b) => byPath(a.path, b.path))
  return { writes, unchanged, ...(await planRemovals(input, guard)) }
}
