import {
  chmod,
  copyFile,
  link,
  lstat,
  mkdir,
  open,
  readFile,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  symlink,
  unlink,
  utimes,
} from 'node:fs/promises'
import type * as FsPromises from 'node:fs/promises'

/** The calls of `node:fs/promises` that durable code may use; everything on disk goes through this seam. */
export type FileSystemOperation =
  | 'chmod'
  | 'copyFile'
  | 'link'
  | 'lstat'
  | 'mkdir'
  | 'open'
  | 'readFile'
  | 'readdir'
  | 'readlink'
  | 'realpath'
  | 'rename'
  | 'rm'
  | 'rmdir'
  | 'stat'
  | 'statfs'
  | 'symlink'
  | 'unlink'
  | 'utimes'

/**
 * The file system as the packages see it: a subset of `node:fs/promises` with the same signatures, so that the real
 * one needs no adapter and a test double (`faultFileSystem` of `/testing`) can fail any single call.
 */
export type FileSystem = Pick<typeof FsPromises, FileSystemOperation>

/** An open file of a {@link FileSystem}. */
export type FileHandle = FsPromises.FileHandle

/** The real disk. */
export const nodeFileSystem: FileSystem = Object.freeze({
  chmod,
  copyFile,
  link,
  lstat,
  mkdir,
  open,
  readFile,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  symlink,
  unlink,
  utimes,
})

/** The `code` of a system error (`ENOENT`, `EEXIST` …), `undefined` for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** Whether an error says that a file or a folder on the way to it does not exist (`ENOENT`). */
export function isMissing(error: unknown): boolean {
  return systemErrorCode(error) === 'ENOENT'
}

/** Whether there is anything at `path`, even a dangling link. */
export async function pathExists(path: string, fs: FileSystem = nodeFileSystem): Promise<boolean> {
  try {
    await fs.lstat(path)
    return true
  } catch (error) {
    if (isMissing(error) || systemErrorCode(error) === 'ENOTDIR') return false
    throw error
  }
}
