import { printable, wipe } from '@keyturn/primitives'
import { onDisk, nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { closeSync, ftruncateSync, lstatSync, openSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Archive } from '../archive.ts'
import { buildArchive } from '../build.ts'
import type { BuildResult } from '../build-result.ts'
import type { BuildOptions } from '../build.ts'
import { planFiles, releaseSlots, resolveFormat, resolveSlots } from '../build-plan.ts'
import type { BuildFile, ResolvedFormat, WriterSlots } from '../build-plan.ts'
import { manifestStart, SEGMENT_RECORD_BYTES, segmentCountOf } from '../entries.ts'
import type { EntryRecord } from '../entries.ts'
import { M2pError } from '../errors.ts'
import { finishArchive } from '../finish.ts'
import { HEADER_BYTES } from '../limits.ts'
import { memorySource } from '../source.ts'
import { writeArchiveFile } from './archive-file.ts'
import type { OutputOptions } from './archive-file.ts'
import { FORM } from './build-job.ts'
import type { BuildJob, PreviousPayloads } from './build-job.ts'
import { BuildShare } from './build-share.ts'
import { Crew } from './crew.ts'
import { stopFlag } from './share.ts'
import { descriptorOf, openFileSource } from './file-source.ts'
import type { FileSource } from './file-source.ts'
import { writeAt } from './sealed-units.ts'
import { shareBytes, shareNumbers, sharePaths, SharedProgress, shareSecrets } from './shared.ts'
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

/** Plaintext of small files that one thread takes at a time. */
const UNIT_BYTES = 1024 * 1024
const UNIT_FILES = 64

/**
 * Packs a folder into an archive file, wholly or not at all.
 *
 * @throws As `buildArchive`; {@link M2pError} `M2P_SPECIAL_FILE`; `PRIM_EXISTS`, `PRIM_FILE`, `PRIM_DISK_FULL` of `PrimitivesError`.
 */
export async function buildFolder(input: string, output: string, options: BuildFolderOptions): Promise<BuildResult> {
  const { previous, jobs = availableParallelism() } = options
  const previousDescriptor = previous === undefined || previous.manifestOnly ? -1 : descriptorOf(previous.source)
  // Threads work on descriptors; another file system, or an archive that is no file, goes through the plain builder.
  if (options.fs !== undefined || previousDescriptor === undefined) return buildPlainly(input, output, options)
  const format = resolveFormat(options)
  const slots = resolveSlots(options, previous)
  const crew = new Crew(jobs)
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
    await crew.close()
  }
}

interface FolderPlan {
  readonly paths: readonly string[]
  readonly storedPaths: readonly string[]
  readonly pathBytes: readonly Uint8Array[]
  readonly sizes: readonly number[]
}

async function planFolder(input: string, options: BuildFolderOptions, format: ResolvedFormat): Promise<FolderPlan> {
  const files = (await walkFolder(input, options)).map((path) => ({
    path,
    source: memorySource(new Uint8Array(0)),
  }))
  const byStored = new Map<string, string>()
  const planned = planFiles(files, format.ymirPrefix, (stored, path) => void byStored.set(stored, path))
  const paths = planned.map(({ path }) => byStored.get(path) as string)
  const sizes = paths.map((path) => sizeOf(input, path))
  return {
    paths,
    storedPaths: planned.map(({ path }) => path),
    pathBytes: planned.map(({ pathBytes }) => pathBytes),
    sizes,
  }
}

function sizeOf(root: string, path: string): number {
  const stats = lstatSync(`${root}/${path}`, { throwIfNoEntry: false })
  if (stats?.isFile() === true) return stats.size
  throw new M2pError('M2P_INPUT_CHANGED', `File "${printable(path)}" changed while it was being packed`, {
    details: { path: printable(path) },
  })
}

/** Units of work in archive order: a segment of a large file, or small files side by side. */
function unitsOf(sizes: readonly number[], segmentSize: number): number[] {
  const units: number[] = []
  let first = 0
  let bytes = 0
  const close = (behind: number): void => {
    if (behind > first) units.push(first, behind, -1)
    first = behind
    bytes = 0
  }
  for (const [file, size] of sizes.entries()) {
    const count = segmentCountOf(size, segmentSize)
    if (count > 1 || bytes + size > UNIT_BYTES || file - first >= UNIT_FILES) close(file)
    bytes += size
    if (count === 1) continue
    for (let segment = 0; segment < count; segment++) units.push(file, file + 1, segment)
    first = file + 1
    bytes = 0
  }
  close(sizes.length)
  return units
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
    manifest: shareBytes(previous.manifestBytes),
    starts: shareNumbers(starts),
    segmentSize: previous.segmentSize,
    damaged: stopFlag(),
    checksWhole,
  }
}

function jobOf(build: ThreadedBuild, checksWhole: boolean): BuildJob {
  const { input, plan, format, slots, descriptor } = build
  const { sizes, paths } = plan
  const counts = sizes.map((size) => segmentCountOf(size, format.segmentSize))
  const firstSegments: number[] = []
  let segments = 0
  for (const count of counts) {
    firstSegments.push(segments)
    segments += count
  }
  const large = [...sizes.keys()].filter((file) => (counts[file] as number) > 1)
  large.sort((left, right) => (sizes[right] as number) - (sizes[left] as number))
  const units = unitsOf(sizes, format.segmentSize)
  const files = paths.length
  const ends = new BigInt64Array(new SharedArrayBuffer((units.length / 3 + 1) * 8))
  ends[0] = BigInt(HEADER_BYTES)
  return {
    kind: 'build',
    root: input,
    paths,
    ...sharePaths(plan.pathBytes),
    sizes: shareNumbers(sizes),
    firstSegments: shareNumbers(firstSegments),
    large: shareNumbers(large),
    units: shareNumbers(units),
    next: new Int32Array(new SharedArrayBuffer(8)),
    ends,
    table: {
      offsets: new Float64Array(new SharedArrayBuffer(files * 8)),
      slots: new Float64Array(new SharedArrayBuffer(files * 8)),
      forms: new Int32Array(new SharedArrayBuffer(files * 4)),
      digests: new Uint8Array(new SharedArrayBuffer(files * 32)),
      segments: new Uint8Array(new SharedArrayBuffer(segments * SEGMENT_RECORD_BYTES)),
      checks: new Uint32Array(new SharedArrayBuffer(segments * 4)),
      hashed: new Int32Array(new SharedArrayBuffer(files * 4)),
    },
    descriptor,
    level: format.level,
    segmentSize: format.segmentSize,
    align: format.align,
    slots: shareSecrets(slots.secrets),
    newest: slots.newest,
    previous: previousPayloads(build, checksWhole),
    stop: stopFlag(),
    progress: new SharedProgress().counts,
  }
}

/** Packs; once more, more carefully, when the previous archive turns out to be damaged in the middle of a large file. */
async function buildOnThreads(build: ThreadedBuild): Promise<BuildResult> {
  const first = jobOf(build, false)
  try {
    return await runJob(build, first)
  } catch (error) {
    if (first.previous?.damaged[0] !== 1) throw error
  }
  ftruncateSync(build.descriptor, 0)
  // The workers of a crew take one job.
  const crew = new Crew(build.crew.size)
  try {
    return await runJob({ ...build, crew }, jobOf(build, true))
  } finally {
    await crew.close()
  }
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
  const end = Number(job.ends.at(-1))
  const finished = finishArchive(recordsOf(plan, job), end, options, format.segmentSize, slots)
  writeAt(descriptor, finished.manifest, end)
  writeAt(descriptor, finished.header, 0)
  const carriedFiles = job.table.forms.reduce((sum, form) => sum + (form >= FORM.carriedPlain ? 1 : 0), 0)
  const keptFiles = job.table.slots.reduce((sum, slot) => sum + (slot === slots.newest ? 0 : 1), 0)
  return { ...finished.result, originalBytes: totalBytes, carriedFiles, keptFiles }
}

function recordsOf({ pathBytes, sizes }: FolderPlan, { table, firstSegments, segmentSize }: BuildJob): EntryRecord[] {
  return sizes.map((size, file) => {
    const first = (firstSegments[file] as number) * SEGMENT_RECORD_BYTES
    const form = table.forms[file]
    return {
      pathBytes: pathBytes[file] as Uint8Array,
      offset: table.offsets[file] as number,
      size,
      slot: table.slots[file] as number,
      compression: form === FORM.compressed || form === FORM.carriedCompressed ? 'zstd' : 'none',
      sha256: table.digests.subarray(file * 32, file * 32 + 32),
      segments: table.segments.subarray(first, first + segmentCountOf(size, segmentSize) * SEGMENT_RECORD_BYTES),
    }
  })
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
      // A wrong length tells the builder that the file changed.
      return source.size === this.size ? await source.read(offset, length) : new Uint8Array(length + 1)
    } finally {
      await source.close()
    }
  }
}

async function buildPlainly(input: string, output: string, options: BuildFolderOptions): Promise<BuildResult> {
  const fs = options.fs ?? nodeFileSystem
  const files: BuildFile[] = []
  for (const path of await walkFolder(input, options)) {
    const full = join(input, path)
    const { size } = await fs.lstat(full)
    files.push({ path, source: new LazyFileSource(full, size, fs) })
  }
  return writeArchiveFile(output, options, (sink) => buildArchive(files, sink, options))
}
