import { PrimitivesError, printable, requireMembers, requireText } from '@keyturn/primitives'
import { onDisk, pathExists, syncFolder } from '@keyturn/primitives/node'
import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Archive } from '../archive.ts'
import type { ArchiveEntry } from '../entries.ts'
import { M2pError } from '../errors.ts'
import { logicalPath } from '../paths.ts'
import { readExactly } from '../source.ts'
import { checkPadding } from '../verify.ts'
import type { Progress } from '../verify.ts'
import { withArchiveFile } from './archive-file.ts'
import type { OpenFileOptions } from './archive-file.ts'
import { Crew } from './crew.ts'
import { descriptorOf } from './file-source.ts'
import { openEntries } from './open-entries.ts'
import { SafeFolder } from './safe-folder.ts'
import type { Placement } from './safe-folder.ts'

/** Options of {@link extractArchive}. */
export interface ExtractOptions extends OpenFileOptions {
  /** Files, or folders with all below; default: everything. */
  readonly paths?: readonly string[]
  /** Whether existing files are replaced; default `false`: then nothing is written when one of them is there. */
  readonly overwrite?: boolean
  /** Threads; default: as many as the machine has cores. */
  readonly jobs?: number
  /** Threads that several calls share, in place of own ones; the caller closes it. */
  readonly crew?: Crew | undefined
  /** Told after every file. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Stops between two files, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** What an extraction wrote. */
export interface ExtractResult {
  readonly files: number
  readonly bytes: number
}

/** The entries that were asked for. @throws {@link M2pError} `M2P_ENTRY_UNKNOWN` for a path that names nothing. */
export function selectEntries(archive: Archive, paths: readonly string[] | undefined): readonly ArchiveEntry[] {
  if (paths === undefined || paths.length === 0) return archive.entries
  const selected = new Set<ArchiveEntry>()
  for (const path of paths) {
    const wanted = logicalPath(path).replace(/\/+$/, '')
    const found = archive.entries.filter(
      (entry) => logicalPath(entry.path) === wanted || logicalPath(entry.path).startsWith(`${wanted}/`),
    )
    if (found.length === 0) {
      throw new M2pError('M2P_ENTRY_UNKNOWN', `The archive has no file or folder "${printable(path)}"`, {
        details: { path: printable(path) },
      })
    }
    for (const entry of found) selected.add(entry)
  }
  return archive.entries.filter((entry) => selected.has(entry))
}

async function checkGaps(archive: Archive): Promise<void> {
  for (const { offset, length } of archive.gaps)
    checkPadding(await readExactly(archive.source, offset, length, 'padding'), offset)
}

async function writeEntries(
  archive: Archive,
  entries: readonly ArchiveEntry[],
  { root, placement }: Target,
  work: Work,
): Promise<ExtractResult> {
  if (placement !== 'fresh') {
    const folder = new SafeFolder(root)
    try {
      for (const { path } of entries)
        if (folder.holds(logicalPath(path)) && placement === 'new') refuseExisting(logicalPath(path))
    } finally {
      folder.close()
    }
  }
  const { onProgress, signal } = work.options
  const descriptor = descriptorOf(archive.source) as number
  await openEntries(archive, entries, {
    crew: work.crew,
    descriptor,
    target: { root, placement },
    onProgress,
    signal,
  })
  return { files: entries.length, bytes: entries.reduce((sum, entry) => sum + entry.size, 0) }
}

interface Target {
  readonly root: string
  readonly placement: Placement
}

interface Work {
  readonly crew: Crew
  readonly options: ExtractOptions
}

function refuseExisting(path: string): never {
  throw new PrimitivesError('PRIM_EXISTS', `Cannot extract "${printable(path)}": it is already there`, {
    details: { path: printable(path) },
  })
}

/**
 * Extracts an archive below a folder. A folder that is not there yet appears whole or not at all; below one that is
 * there, each file does. Every file is checked before it gets its name.
 *
 * @param target - The folder; its parent must exist.
 * @throws As `openArchive`; {@link M2pError} `M2P_SYMLINK`, `M2P_ENTRY_UNKNOWN` and what is wrong with the first
 *   bad file; `PRIM_EXISTS`, `PRIM_FILE`, `PRIM_DISK_FULL` of `PrimitivesError`.
 */
export async function extractArchive(path: string, target: string, options: ExtractOptions): Promise<ExtractResult> {
  requireText(path, 'path')
  requireText(target, 'target')
  requireMembers(options, 'options', [])
  if (options.contentKey === undefined) throw new TypeError('Extraction needs a content key')
  const crew = options.crew ?? new Crew(options.jobs)
  try {
    return await withArchiveFile(path, options, async (archive) => {
      const entries = selectEntries(archive, options.paths)
      await checkGaps(archive)
      const work = { crew, options }
      if (await pathExists(target))
        return writeEntries(
          archive,
          entries,
          { root: target, placement: options.overwrite === true ? 'replace' : 'new' },
          work,
        )
      return extractFresh(archive, entries, resolve(target), work)
    })
  } finally {
    if (crew !== options.crew) await crew.close()
  }
}

async function extractFresh(
  archive: Archive,
  entries: readonly ArchiveEntry[],
  target: string,
  work: Work,
): Promise<ExtractResult> {
  const parent = dirname(target)
  const temporary = join(parent, `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`)
  await onDisk('Cannot create folder', temporary, () => mkdir(temporary))
  try {
    const result = await writeEntries(archive, entries, { root: temporary, placement: 'fresh' }, work)
    await onDisk('Cannot create folder', target, () => rename(temporary, target))
    await syncFolder(parent)
    return result
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}
