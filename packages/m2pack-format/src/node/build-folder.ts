import { type FileSystem, nodeFileSystem } from '@keyturn/primitives/node'
import { join } from 'node:path'
import type { Archive } from '../archive.ts'
import { buildArchive, type BuildOptions, type BuildResult } from '../build.ts'
import type { BuildFile } from '../build-plan.ts'
import { type OutputOptions, writeArchiveFile } from './archive-file.ts'
import { type FileSource, openFileSource } from './file-source.ts'
import { walkFolder } from './walk.ts'

/** Options of {@link buildFolder}. */
export interface BuildFolderOptions extends BuildOptions, OutputOptions {
  /** Globs of what is left out. */
  readonly exclude?: readonly string[]
  /** Threads; default: as many as the machine has cores. The bytes do not depend on it. */
  readonly jobs?: number
  /** The archive this one follows, opened with its verifier. */
  readonly previous?: Archive | undefined
}

/** Opens its file only while it is read, so that thousands can be planned. */
class LazyFileSource {
  readonly size: number
  readonly #path: string
  readonly #fs: FileSystem

  constructor(path: string, size: number, fs: FileSystem) {
    this.#path = path
    this.size = size
    this.#fs = fs
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const source: FileSource = await openFileSource(this.#path, this.#fs)
    try {
      // A file that grew gives one byte too many, one that shrank too few: either way the build stops.
      return source.size === this.size ? await source.read(offset, length) : new Uint8Array(length + 1)
    } finally {
      await source.close()
    }
  }
}

async function listFiles(input: string, options: BuildFolderOptions, fs: FileSystem): Promise<BuildFile[]> {
  const files: BuildFile[] = []
  for (const path of await walkFolder(input, options)) {
    const full = join(input, path)
    const { size } = await fs.lstat(full)
    files.push({ path, source: new LazyFileSource(full, size, fs) })
  }
  return files
}

/**
 * Packs a folder into an archive file, wholly or not at all.
 *
 * @throws As `buildArchive`; {@link M2pError} `M2P_SPECIAL_FILE`; `PRIM_EXISTS`, `PRIM_FILE`, `PRIM_DISK_FULL` of `PrimitivesError`.
 */
export async function buildFolder(input: string, output: string, options: BuildFolderOptions): Promise<BuildResult> {
  const fs = options.fs ?? nodeFileSystem
  const files = await listFiles(input, options, fs)
  return writeArchiveFile(output, options, (sink) => buildArchive(files, sink, options))
}
