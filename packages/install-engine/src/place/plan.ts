import { matchesGlob } from '@keyturn/manifest'
import type { ManifestFile, ReleaseManifest } from '@keyturn/manifest'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { FolderGuard, hashFile, inParallel, look, placeInside } from '../disk/disk.ts'
import type { FileIdentity } from '../disk/disk.ts'
import type { HashCache } from '../disk/hash-cache.ts'
import { hashOnTwoCores, poolThresholdBytes } from '../disk/hash-pool.ts'
import { updatesFolder } from '../disk/layout.ts'
import type { Layout } from '../disk/layout.ts'

/** A file to be written. */
export interface PlannedWrite {
  readonly file: ManifestFile
  /** Whether something lies there now. */
  readonly existed: boolean
  /** Bytes of the file that lies there now. */
  readonly oldSize: number
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

/** How a file stands before any of its bytes were read. */
type Standing = 'same' | 'different' | 'absent' | 'unread'

/**
 * Compares a file with the manifest as far as that goes without reading it: size first, then the cache.
 *
 * @throws LauncherError `LA_SYMLINK` when a folder above it is a link.
 */
async function glance(input: PlanInput, guard: FolderGuard, file: ManifestFile): Promise<Standing> {
  if (!(await guard.parentsAreReal(file.path))) return 'absent'
  const place = placeInside(input.layout.root, file.path)
  const found = await look(input.fs, place)
  if (found.kind === 'nothing') return 'absent'
  if (found.kind === 'other') {
    if (found.what === 'folder' && (await input.fs.readdir(place)).length > 0) {
      throw new LauncherError(
        'LA_SYMLINK',
        `Cannot install "${file.path}": a folder with files in it is in its place`,
        { details: { path: file.path } },
      )
    }
    return 'different' // a link or special file is replaced, never followed
  }
  if (found.identity.size !== file.size) return 'different'
  const known = input.cache?.get(file.path, found.identity)
  if (known === undefined) return 'unread'
  return known === file.sha256 ? 'same' : 'different'
}

/** Reads the files whose standing is not known yet and tells how they stand; on two cores when there is much to read. */
async function readAll(
  input: PlanInput,
  files: readonly ManifestFile[],
  tell: (file: ManifestFile, stands: Standing) => void,
): Promise<void> {
  const note = (file: ManifestFile, sha256: string, identity: FileIdentity): void => {
    input.cache?.set(file.path, identity, sha256)
    tell(file, sha256 === file.sha256 ? 'same' : 'different')
  }
  const bytes = files.reduce((sum, file) => sum + file.size, 0)
  if (bytes >= poolThresholdBytes && input.fs === nodeFileSystem) {
    await hashOnTwoCores(
      placed(input.layout.root, files),
      ({ file }, { sha256, identity }) => {
        note(file, sha256, identity)
        input.onBytes?.(file.size)
      },
      input.signal,
    )
    return
  }
  await inParallel(files, input.concurrency, async (file) => {
    input.signal?.throwIfAborted()
    const { sha256, identity } = await hashFile(input.fs, placeInside(input.layout.root, file.path), {
      signal: input.signal,
      onBytes: input.onBytes,
    })
    note(file, sha256, identity)
  })
}

function* placed(
  root: string,
  files: readonly ManifestFile[],
): Generator<{ path: string; size: number; file: ManifestFile }> {
  for (const file of files) yield { path: placeInside(root, file.path), size: file.size, file }
}

/** Compares one file, reading it if need be. */
async function compare(input: PlanInput, guard: FolderGuard, file: ManifestFile): Promise<Standing> {
  let stands = await glance(input, guard, file)
  if (stands === 'unread')
    await readAll(input, [file], (_, read) => {
      stands = read
    })
  return stands
}

async function planRemovals(input: PlanInput, guard: FolderGuard): Promise<{ removals: string[]; kept: string[] }> {
  const removals: string[] = []
  const kept: string[] = []
  // The usual start: the same release as is installed, and nothing to delete.
  if (input.installedFiles === input.files && input.manifest.delete.length === 0) return { removals, kept }
  const stays = new Set(input.files.map((file) => file.path))
  const listed = new Map(input.installedFiles.map((file) => [file.path, file]))
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
  const changed: { file: ManifestFile; existed: boolean }[] = []
  const unchanged: ManifestFile[] = []
  const settle = (file: ManifestFile, stands: Standing): void => {
    input.onFile?.()
    const isUsers = stands !== 'absent' && input.manifest.keep.some((glob) => matchesGlob(glob, file.path))
    if (stands === 'same' || isUsers) unchanged.push(file)
    else changed.push({ file, existed: stands === 'different' })
  }
  const unread: ManifestFile[] = []
  await inParallel(input.files, input.concurrency, async (file) => {
    input.signal?.throwIfAborted()
    const stands = await glance(input, guard, file)
    if (stands === 'unread') return void unread.push(file)
    input.onBytes?.(file.size)
    settle(file, stands)
  })
  await readAll(input, unread, settle)
  const byPath = (a: string, b: string): number => (a < b ? -1 : 1)
  changed.sort((a, b) => byPath(a.file.path, b.file.path))
  const writes: PlannedWrite[] = []
  for (const { file, existed } of changed) {
    const found = existed ? await look(input.fs, placeInside(input.layout.root, file.path)) : undefined
    writes.push({ file, existed, oldSize: found?.kind === 'file' ? found.identity.size : 0 })
  }
  unchanged.sort((a, b) => byPath(a.path, b.path))
  return { writes, unchanged, ...(await planRemovals(input, guard)) }
}
