import { PrimitivesError, printable, requireText } from '@keyturn/primitives'
import { systemErrorCode } from '@keyturn/primitives/node'
import {
  closeSync,
  constants,
  existsSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { M2pError } from '../errors.ts'

/** Linux names an open folder under /proc, so that a path can start there and no other process can move it away. */
const BY_DESCRIPTOR = process.platform === 'linux' && existsSync('/proc/self/fd')
const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants
/** Open folders kept at a time. */
const MAX_OPEN_FOLDERS = 64
const FOLDER_MODE = 0o755
const FILE_MODE = 0o644
/** As `FILE_MODE`, executable for everyone who may read it. */
const PROGRAM_MODE = 0o755
const DISK_FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** An open folder, by descriptor, or by path where the system has no names for descriptors. */
type FolderHandle = number | string

/** How a file takes its name. */
export type Placement = 'fresh' | 'new' | 'replace'

function splitPath(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf('/')
  return { folder: slash < 0 ? '' : path.slice(0, slash), name: path.slice(slash + 1) }
}

function named(path: string, cause: unknown): unknown {
  const errno = systemErrorCode(cause)
  if (errno === undefined) return cause
  const context = { details: { path: printable(path), errno }, cause }
  if (errno === 'ELOOP' || errno === 'ENOTDIR') {
    return new M2pError(
      'M2P_SYMLINK',
      `Cannot extract "${printable(path)}": found a link or file, expected a folder`,
      context,
    )
  }
  const code = errno === 'EEXIST' ? 'PRIM_EXISTS' : DISK_FULL.has(errno) ? 'PRIM_DISK_FULL' : 'PRIM_FILE'
  return new PrimitivesError(code, `Cannot extract "${printable(path)}": ${errno}`, context)
}

/** What a file gets beside its bytes. */
export interface FileAttributes {
  /** Whether it may be executed; default `false`. */
  readonly executable?: boolean | undefined
  /** Time of modification, milliseconds since 1970; default: the hour of writing. */
  readonly mtimeMs?: number | undefined
}

/**
 * Writes files below one opened folder and nowhere else: no link is followed, even if someone else writes to the tree.
 * On systems without /proc each folder is looked at before it is used, which leaves a window that only a local attacker
 * could hit.
 */
export class SafeFolder {
  readonly #root: FolderHandle
  readonly #open = new Map<string, FolderHandle>()

  /** @param root - An existing folder; a link here is the caller's own choice and is followed. */
  constructor(root: string) {
    requireText(root, 'root')
    this.#root = BY_DESCRIPTOR ? openSync(root, O_RDONLY | O_DIRECTORY) : root
  }

  #at(folder: FolderHandle, name: string): string {
    return typeof folder === 'number' ? `/proc/self/fd/${folder}/${name}` : `${folder}/${name}`
  }

  #enter(parent: FolderHandle, name: string): FolderHandle {
    const path = this.#at(parent, name)
    try {
      mkdirSync(path, FOLDER_MODE)
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    }
    if (typeof parent === 'number') return openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    if (!lstatSync(path).isDirectory()) throw Object.assign(new Error('not a folder'), { code: 'ENOTDIR' })
    return path
  }

  #folder(path: string): FolderHandle {
    if (path === '') return this.#root
    const known = this.#open.get(path)
    if (known !== undefined) return known
    const { folder, name } = splitPath(path)
    const handle = this.#enter(this.#folder(folder), name)
    this.#open.set(path, handle)
    return handle
  }

  /** Closes the folders that were opened first, when there are too many. Never while one of them is in use. */
  #trim(): void {
    for (const [path, handle] of this.#open) {
      if (this.#open.size <= MAX_OPEN_FOLDERS) return
      this.#open.delete(path)
      if (typeof handle === 'number') closeSync(handle)
    }
  }

  /** Whether there is something at `path`, even a dangling link; folders on the way are not made. */
  holds(path: string): boolean {
    let at = this.#at(this.#root, '')
    for (const part of path.split('/')) {
      at += `${at.endsWith('/') ? '' : '/'}${part}`
      const stats = lstatSync(at, { throwIfNoEntry: false })
      if (stats === undefined) return false
      if (stats.isSymbolicLink()) throw named(path, Object.assign(new Error('link'), { code: 'ELOOP' }))
    }
    return true
  }

  /**
   * Creates a file and lets `write` fill it.
   *
   * @param placement - `fresh`: the tree is ours alone and takes its name later; `new`: whole under its name or not
   *   there; `replace`: likewise, in place of what is there.
   * @throws {@link M2pError} `M2P_SYMLINK`; `PRIM_EXISTS`, `PRIM_FILE`, `PRIM_DISK_FULL` of `PrimitivesError`.
   */
  writeFile<Result>(
    path: string,
    placement: Placement,
    write: (writeBytes: (bytes: Uint8Array) => void) => Result,
    attributes: FileAttributes = {},
  ): Result {
    const { folder, name } = splitPath(path)
    try {
      this.#trim()
      const parent = this.#folder(folder)
      const target = this.#at(parent, name)
      const temporary = placement === 'fresh' ? target : this.#at(parent, `.${randomBytes(8).toString('hex')}.tmp`)
      const result = this.#fill(temporary, write, attributes)
      if (placement === 'fresh') return result
      this.#place(temporary, target, placement)
      return result
    } catch (error) {
      throw named(path, error)
    }
  }

  #fill<Result>(
    path: string,
    write: (writeBytes: (bytes: Uint8Array) => void) => Result,
    { executable, mtimeMs }: FileAttributes,
  ): Result {
    const mode = executable === true ? PROGRAM_MODE : FILE_MODE
    const descriptor = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
    let whole = false
    try {
      const result = write((bytes) => {
        for (let done = 0; done < bytes.length;) done += writeSync(descriptor, bytes, done)
      })
      if (mtimeMs !== undefined) futimesSync(descriptor, mtimeMs / 1000, mtimeMs / 1000)
      whole = true
      return result
    } finally {
      closeSync(descriptor)
      if (!whole) unlinkSync(path)
    }
  }

  #place(temporary: string, target: string, placement: 'new' | 'replace'): void {
    try {
      if (placement === 'new') linkSync(temporary, target)
      else if (lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink() === true)
        throw Object.assign(new Error('link'), { code: 'ELOOP' })
      else return renameSync(temporary, target)
    } catch (error) {
      unlinkSync(temporary)
      throw error
    }
    unlinkSync(temporary)
  }

  /** Closes every folder. */
  close(): void {
    for (const handle of [...this.#open.values(), this.#root]) if (typeof handle === 'number') closeSync(handle)
    this.#open.clear()
  }
}
