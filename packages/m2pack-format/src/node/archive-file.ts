import { requireMembers, requireText } from '@keyturn/primitives'
import { onDisk, nodeFileSystem, writeAll, writeFileAtomic } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { openArchive } from '../archive.ts'
import type { Archive, OpenOptions } from '../archive.ts'
import { checkKeys } from '../keys.ts'
import { rewrapArchive } from '../rewrap.ts'
import type { RewrapOptions, RewrapResult } from '../rewrap.ts'
import type { ByteSink } from '../source.ts'
import { openFileSource } from './file-source.ts'

/** Options of {@link openArchiveFile}. */
export interface OpenFileOptions extends OpenOptions {
  /** Default: the real disk. */
  readonly fs?: FileSystem
}

/** An archive on disk, open. */
export interface ArchiveFile {
  readonly archive: Archive
  /** Wipes the slots and closes the file. */
  close(): Promise<void>
}

/**
 * Opens an archive file. Close it.
 *
 * @throws As `openArchive`; `PRIM_FILE` of `PrimitivesError`.
 */
export async function openArchiveFile(path: string, options: OpenFileOptions): Promise<ArchiveFile> {
  requireText(path, 'path')
  requireMembers(options, 'options', [])
  const source = await openFileSource(path, options.fs)
  try {
    const archive = await openArchive(source, options)
    return {
      archive,
      close: () => {
        archive.dispose()
        return source.close()
      },
    }
  } catch (error) {
    await source.close()
    throw error
  }
}

/** Opens an archive file for the length of one call. */
export async function withArchiveFile<Result>(
  path: string,
  options: OpenFileOptions,
  use: (archive: Archive) => Promise<Result> | Result,
): Promise<Result> {
  requireText(path, 'path')
  requireMembers(options, 'options', [])
  if (typeof use !== 'function') throw new TypeError('use must be a function')
  const file = await openArchiveFile(path, options)
  try {
    return await use(file.archive)
  } finally {
    await file.close()
  }
}

/** Options of what writes an archive file. */
export interface OutputOptions {
  /** Whether an existing file is replaced; default `false`. */
  readonly overwrite?: boolean
  /** Default: the real disk. */
  readonly fs?: FileSystem
}

/**
 * Writes a file at any positions, wholly or not at all: it gets its name once `write` is done and its bytes are
 * durable.
 *
 * @param write - Fills the file; a throw leaves the target untouched.
 */
export async function writeArchiveFile<Result>(
  path: string,
  { overwrite = false, fs = nodeFileSystem }: OutputOptions,
  write: (sink: ByteSink, temporaryPath: string) => Promise<Result>,
): Promise<Result> {
  let result: { readonly value: Result } | undefined
  const fill = async (temporaryPath: string): Promise<void> => {
    const handle = await onDisk('Cannot write', path, () => fs.open(temporaryPath, 'r+'))
    try {
      const sink: ByteSink = {
        write: (bytes, position) => onDisk('Cannot write', path, () => writeAll(handle, bytes, position)),
      }
      result = { value: await write(sink, temporaryPath) }
      await onDisk('Cannot write', path, () => handle.sync())
    } finally {
      await handle.close()
    }
  }
  await onDisk('Cannot write', path, () =>
    writeFileAtomic(path, new Uint8Array(0), { overwrite, fs, beforeRename: fill }),
  )
  return (result as { readonly value: Result }).value
}

/** Options of {@link rewrapFile}. */
export interface RewrapFileOptions extends RewrapOptions, OutputOptions {
  /** How the present archive is opened: its verifier and its present content key. */
  readonly open: OpenOptions
}

/**
 * Rotates the content key of an archive file: only header, commitment and slots of the result differ.
 *
 * @throws As `openArchive`; `PRIM_EXISTS`, `PRIM_FILE`, `PRIM_DISK_FULL` of `PrimitivesError`.
 */
export async function rewrapFile(input: string, output: string, options: RewrapFileOptions): Promise<RewrapResult> {
  requireText(input, 'input')
  requireText(output, 'output')
  checkKeys(options)
  requireMembers(options.open, 'open', [])
  const fs = options.fs ?? nodeFileSystem
  return withArchiveFile(input, { ...options.open, fs }, (archive) =>
    writeArchiveFile(output, options, (sink) => rewrapArchive(archive, sink, options)),
  )
}
