import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import type { ManifestFile, ReleaseManifest } from '@keyturn/manifest'
import { hashFile, inParallel, look, placeInside } from '../disk/disk.ts'
import type { FileIdentity } from '../disk/disk.ts'
import { FolderGuard } from '../disk/folder-guard.ts'
import type { HashCache } from '../disk/hash-cache.ts'
import { hashOnTwoCores, POOL_THRESHOLD_BYTES } from '../disk/hash-pool.ts'
import type { Layout } from '../disk/layout.ts'
import { PERMISSION_BITS } from '../disk/modes.ts'
import { modeOf } from '../disk/settled-file.ts'

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
  /** Folders below the install that may be links on this machine. */
  readonly linkedFolders?: readonly string[] | undefined
  readonly concurrency: number
  readonly signal?: AbortSignal | undefined
  readonly onBytes?: ((count: number) => void) | undefined
  readonly onFile?: (() => void) | undefined
}

/** How a listed file was found. */
export type Standing =
  | { readonly kind: 'absent' }
  /** Its bytes are right; `mode` is the mode it has, when it should have another. */
  | { readonly kind: 'same'; readonly mode?: number | undefined }
  /** Another file, a link or a special file is in its place. */
  | { readonly kind: 'different'; readonly isFile: boolean; readonly size: number }
  | { readonly kind: 'folder' }
  /** One of the folders above it is a file. */
  | { readonly kind: 'blocked'; readonly at: string }
  /** Only its bytes can tell; never the answer in the end. */
  | { readonly kind: 'unread'; readonly mode: number | undefined }

/** Compares listed files with what is on disk. */
export class Comparison {
  readonly #input: PlanInput
  readonly #guard: FolderGuard

  constructor(input: PlanInput) {
    this.#input = input
    this.#guard = new FolderGuard(input.layout.root, input.fs, input.linkedFolders)
  }

  /**
   * Compares a file as far as that goes without reading it: kind and size first, then the cache.
   *
   * @throws LauncherError `LA_SYMLINK` when a folder above it is a link.
   */
  async #glance(file: ManifestFile): Promise<Standing> {
    const { fs, layout, cache } = this.#input
    const parents = await this.#guard.parents(file.path)
    if (parents === 'missing') return { kind: 'absent' }
    if (parents !== 'real') return { kind: 'blocked', at: parents.blockedAt }
    const found = await look(fs, placeInside(layout.root, file.path))
    if (found.kind === 'nothing') return { kind: 'absent' }
    if (found.kind === 'other')
      return found.what === 'folder' ? { kind: 'folder' } : { kind: 'different', isFile: false, size: 0 }
    const { size } = found.identity
    if (size !== file.size) return { kind: 'different', isFile: true, size }
    const wanted = modeOf(file)
    const hasRightMode = wanted === undefined || (found.mode & PERMISSION_BITS) === wanted
    const mode = hasRightMode ? undefined : found.mode & PERMISSION_BITS
    const known = cache?.get(file.path, found.identity)
    if (known === undefined) return { kind: 'unread', mode }
    return known === file.sha256 ? { kind: 'same', mode } : { kind: 'different', isFile: true, size }
  }

  /** Compares many files and reports each; on two cores when there is much to read. */
  async all(files: readonly ManifestFile[], report: (file: ManifestFile, standing: Standing) => void): Promise<void> {
    const { concurrency, signal, onBytes } = this.#input
    const unread = new Map<ManifestFile, number | undefined>()
    await inParallel(files, concurrency, async (file) => {
      signal?.throwIfAborted()
      const standing = await this.#glance(file)
      if (standing.kind === 'unread') return void unread.set(file, standing.mode)
      onBytes?.(file.size)
      report(file, standing)
    })
    await this.#readAll([...unread.keys()], (file, isSame) =>
      report(
        file,
        isSame ? { kind: 'same', mode: unread.get(file) } : { kind: 'different', isFile: true, size: file.size },
      ),
    )
  }

  /** Compares one file, reading it if need be. */
  async one(file: ManifestFile): Promise<Standing> {
    const standing = await this.#glance(file)
    if (standing.kind !== 'unread') return standing
    let isSame = false
    await this.#readAll([file], (_, read) => void (isSame = read))
    return isSame ? { kind: 'same', mode: standing.mode } : { kind: 'different', isFile: true, size: file.size }
  }

  /** Reads files of the listed sizes. */
  async #readAll(files: readonly ManifestFile[], report: (file: ManifestFile, isSame: boolean) => void): Promise<void> {
    const { fs, layout, cache, concurrency, signal, onBytes } = this.#input
    const note = (file: ManifestFile, sha256: string, identity: FileIdentity): void => {
      cache?.set(file.path, identity, sha256)
      report(file, sha256 === file.sha256)
    }
    const bytes = files.reduce((sum, file) => sum + file.size, 0)
    if (bytes >= POOL_THRESHOLD_BYTES && fs === nodeFileSystem) {
      await hashOnTwoCores(
        placed(layout.root, files),
        ({ file }, { sha256, identity }) => {
          note(file, sha256, identity)
          onBytes?.(file.size)
        },
        signal,
      )
      return
    }
    await inParallel(files, concurrency, async (file) => {
      signal?.throwIfAborted()
      const { sha256, identity } = await hashFile(fs, placeInside(layout.root, file.path), { signal, onBytes })
      note(file, sha256, identity)
    })
  }
}

function* placed(
  root: string,
  files: readonly ManifestFile[],
): Generator<{ path: string; size: number; file: ManifestFile }> {
  for (const file of files) yield { path: placeInside(root, file.path), size: file.size, file }
}
