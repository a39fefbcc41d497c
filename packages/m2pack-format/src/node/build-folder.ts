import { printable, requireText, wipe } from '@keyturn/primitives'
import { isOpenedInside, onDisk, nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { closeSync, ftruncateSync, lstatSync, openSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import type { Archive } from '../archive.ts'
import { buildArchive } from '../build.ts'
import type { BuildResult } from '../build-result.ts'
import type { BuildOptions } from '../build.ts'
import { planPaths, releaseSlots, resolveFormat, resolveSlots, storableTime } from '../build-plan.ts'
import type { BuildFile, ResolvedFormat, WriterSlots } from '../build-plan.ts'
import { manifestStart, plainFormAt, segmentTotal } from '../entries.ts'
import type { Compression, EntryRecord } from '../entries.ts'
import { M2pError } from '../errors.ts'
import { finishArchive } from '../finish.ts'
import { checkKeys } from '../keys.ts'
import { writeArchiveFile } from './archive-file.ts'
import type { OutputOptions } from './archive-file.ts'
import { changed } from './build-input.ts'
import type { BuildJob, PreviousPayloads } from './build-job.ts'
import { BuildShare } from './build-share.ts'
import { Crew } from './crew.ts'
import { stopFlag } from './share.ts'
import { descriptorOf, openFileSource } from './file-source.ts'
import type { FileSource } from './file-source.ts'
import { writeAt } from './sealed-units.ts'
import { shareBytes, shareNumbers, sharePaths, SharedProgress, shareSecrets } from './shared.ts'
import { FORM, SharedTable } from './shared-table.ts'
import type { FileAttributes } from './safe-folder.ts'
import { walkFolder } from './walk.ts'

/** Options of {@link buildFolder}. */
export interface BuildFolderOptions extends BuildOptions, OutputOptions {
  /** Globs of what is left out. */
  readonly exclude?: readonly string[]
  /**
   * The files to pack, relative to the folder, forward slashes, as they are on disk; default: all that are below it.
   */
  readonly files?: readonly string[] | undefined
  /** Threads; default: as many as the machine has cores. The bytes do not depend on it. */
  readonly jobs?: number
  /** Threads that several calls share, in place of own ones; the caller closes it. */
  readonly crew?: Crew | undefined
  /** The archive this one follows, opened with its verifier. */
  readonly previous?: Archive | undefined
}

/**
 * Packs a folder into an archive file, wholly or not at all.
 *
 * @throws As `buildArchive`; {@link M2pError} `M2P_SPECIAL_FILE`; `PRIM_EXISTS`, `PRIM_FILE`, `PRIM_DISK_FULL` of
 *   `PrimitivesError`.
 */
export async function buildFolder(input: string, output: string, options: BuildFolderOptions): Promise<BuildResult> {
  requireText(input, 'input')
  requireText(output, 'output')
  checkKeys(options)
  const { previous, jobs } = options
  const previousDescriptor = previous === undefined || previous.manifestOnly ? -1 : descriptorOf(previous.source)
  // Threads work on descriptors; another file system, or an archive that is not a file, uses the plain builder.
  if (options.fs !== undefined || previousDescriptor === undefined) return buildPlainly(input, output, options)
  const format = resolveFormat(options)
  const slots = resolveSlots(options, previous)
  const crew = options.crew ?? new Crew(jobs)
  try {
    const plan = await planFolder(input, options, format)
    return await writeArchiveFile(output, options, async (_sink, temporaryPath) => {
      const descriptor = await onDisk('Cannot write', output, async () => openSync(temporaryPath, 'r+'))
      try {
        return await onDisk('Cannot write', output, () =>
          buildOnThreads({ input, plan, format, slots, crew, descriptor, options, previousDescriptor }),
        )
      } finally {
        closeSync(descriptor)
      }
    })
  } finally {
    releaseSlots(slots, options.slots)
    if (crew !== options.crew) await crew.close()
  }
}

interface FolderPlan {
  /** As they are on disk, in archive order. */
  readonly paths: readonly string[]
  readonly storedPaths: readonly string[]
  readonly pathBytes: readonly Uint8Array[]
  readonly sizes: readonly number[]
  readonly attributes: readonly FileAttributes[]
}

async function planFolder(input: string, options: BuildFolderOptions, format: ResolvedFormat): Promise<FolderPlan> {
  const found = await filesOf(input, options)
  const planned = planPaths(found, format.ymirPrefix)
  const paths = planned.map(({ given }) => found[given] as string)
  const facts = paths.map((path) => factsOf(input, path))
  return {
    paths,
    storedPaths: planned.map(({ path }) => path),
    pathBytes: planned.map(({ pathBytes }) => pathBytes),
    sizes: facts.map(({ size }) => size),
    attributes: facts,
  }
}

async function filesOf(input: string, options: BuildFolderOptions): Promise<readonly string[]> {
  return options.files ?? (await walkFolder(input, options))
}

/** What the file system says of the owner's right to execute a file; Windows has no such bit. */
function isExecutable(mode: number): boolean {
  return process.platform !== 'win32' && (mode & 0o100) !== 0
}

function factsOf(root: string, path: string): FileAttributes & { readonly size: number } {
  const stats = lstatSync(`${root}/${path}`, { throwIfNoEntry: false })
  if (stats?.isFile() === true)
    return { size: stats.size, executable: isExecutable(stats.mode), mtimeMs: storableTime(stats.mtimeMs) }
  throw new M2pError('M2P_INPUT_CHANGED', `File "${printable(path)}" changed while it was being packed`, {
    details: { path: printable(path) },
  })
}

interface ThreadedBuild {
  readonly input: string
  readonly plan: FolderPlan
  readonly format: ResolvedFormat
  readonly slots: WriterSlots
  readonly crew: Crew
  readonly descriptor: number
  readonly options: BuildFolderOptions
  readonly previousDescriptor: number
}

function previousPayloads(
  { plan, format, options, previousDescriptor }: ThreadedBuild,
  checksWhole: boolean,
): PreviousPayloads | undefined {
  const { previous } = options
  if (previous === undefined || format.full) return undefined
  const starts = plan.storedPaths.map((path) => {
    const entry = previous.find(path)
    return entry === undefined ? -1 : manifestStart(entry)
  })
  return {
    descriptor: previousDescriptor,
    manifest: shareBytes(previous.openedManifest),
    starts: shareNumbers(starts),
    offsets: shareNumbers(plan.storedPaths.map((path) => previous.find(path)?.offset ?? 0)),
    form: previous.format,
    damaged: stopFlag(),
    checksWhole,
  }
}

function jobOf(build: ThreadedBuild, checksWhole: boolean): BuildJob {
  const { input, plan, format, slots, crew, descriptor } = build
  const stop = stopFlag()
  return {
    kind: 'build',
    root: input,
    paths: plan.paths,
    ...sharePaths(plan.pathBytes),
    table: SharedTable.plan(plan.sizes, { ...format, stop }).memory,
    descriptor,
    level: format.level,
    align: format.align,
    slots: shareSecrets(slots.secrets),
    newest: slots.newest,
    previous: previousPayloads(build, checksWhole),
    threads: crew.size,
    stop,
    progress: new SharedProgress().counts,
  }
}

/**
 * Packs; once more, more carefully, when the previous archive turns out to be damaged in the middle of a large file.
 */
async function buildOnThreads(build: ThreadedBuild): Promise<BuildResult> {
  const first = jobOf(build, false)
  try {
    return await runJob(build, first)
  } catch (error) {
    if (first.previous?.damaged[0] !== 1) throw error
  }
  ftruncateSync(build.descriptor, 0)
  return await runJob(build, jobOf(build, true))
}

async function runJob(build: ThreadedBuild, job: BuildJob): Promise<BuildResult> {
  const { plan, format, slots, crew, descriptor, options } = build
  const progress = new SharedProgress(job.progress)
  const totalBytes = plan.sizes.reduce((sum, size) => sum + size, 0)
  let told = -1
  const tell = (): void => {
    options.signal?.throwIfAborted()
    if (progress.bytes === told) return
    told = progress.bytes
    options.onProgress?.({ files: progress.files, totalFiles: plan.paths.length, bytes: told, totalBytes })
  }
  try {
    await crew.run(job, new BuildShare(job), job.stop, tell)
  } finally {
    wipe(job.slots.bytes)
  }
  const table = new SharedTable(job.table)
  const end = table.payloadEnd
  const finished = finishArchive(recordsOf(plan, table), end, options, { ...format, slots })
  writeAt(descriptor, finished.manifest, end)
  writeAt(descriptor, finished.header, 0)
  const files = [...plan.sizes.keys()]
  return {
    ...finished.result,
    originalBytes: totalBytes,
    carriedFiles: files.filter((file) => table.isCarried(file)).length,
    keptFiles: files.filter((file) => table.slot(file) !== slots.newest).length,
  }
}

function recordsOf({ pathBytes, sizes, attributes }: FolderPlan, table: SharedTable): EntryRecord[] {
  const { version, segmentSize } = table.memory
  return sizes.map((size, file) => {
    const record = {
      version,
      pathBytes: pathBytes[file] as Uint8Array,
      offset: table.offset(file),
      size,
      slot: table.slot(file),
      sha256: table.digest(file),
      segments: table.segmentRecords(file),
    }
    const form = table.form(file)
    if (version === 1)
      return {
        ...record,
        compression: form === FORM.compressed || form === FORM.carriedCompressed ? 'zstd' : 'none',
      }
    return { ...record, ...attributes[file], size, compression: compressionOf(record, segmentSize) }
  })
}

/** In version 2 a file counts as compressed when one of its segments is. */
function compressionOf(record: Omit<EntryRecord, 'compression'>, segmentSize: number): Compression {
  const entry: EntryRecord = { ...record, compression: 'none' }
  for (let index = 0; index < segmentTotal(entry); index++)
    if (plainFormAt(entry, segmentSize, index).compression === 'zstd') return 'zstd'
  return 'none'
}

/** The folder that is packed. */
interface PlainFolder {
  readonly path: string
  /** Its real path; undefined in a file system that is not ours, whose descriptors say nothing. */
  readonly real: string | undefined
  readonly fs: FileSystem
}

/** Opens its file only while it is read, so that thousands can be planned. */
class LazyFileSource {
  readonly size: number
  readonly #folder: PlainFolder
  readonly #path: string

  constructor(folder: PlainFolder, path: string, size: number) {
    this.#folder = folder
    this.#path = path
    this.size = size
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const { path, real, fs } = this.#folder
    const source: FileSource = await openFileSource(join(path, this.#path), fs)
    try {
      // A folder above it, or the file itself, is a link now.
      if (real !== undefined && !isOpenedInside(source.descriptor, real, this.#path)) throw changed(this.#path)
      // From a wrong length the builder sees that the file changed.
      return source.size === this.size ? await source.read(offset, length) : new Uint8Array(length + 1)
    } finally {
      await source.close()
    }
  }
}

async function buildPlainly(input: string, output: string, options: BuildFolderOptions): Promise<BuildResult> {
  const fs = options.fs ?? nodeFileSystem
  const found = await filesOf(input, options)
  const folder: PlainFolder = {
    path: input,
    real: fs === nodeFileSystem ? await onDisk('Cannot read', input, () => realpath(input)) : undefined,
    fs,
  }
  const files: BuildFile[] = []
  for (const path of found) {
    const { size, mode, mtimeMs } = await fs.lstat(join(input, path))
    files.push({ path, source: new LazyFileSource(folder, path, size), executable: isExecutable(mode), mtimeMs })
  }
  return writeArchiveFile(output, options, (sink) => buildArchive(files, sink, options))
}
