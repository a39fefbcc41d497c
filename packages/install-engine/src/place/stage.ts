import { constants } from 'node:fs'
import { join } from 'node:path'
import type { ManifestFile } from '@keyturn/manifest'
import { syncFolder, systemErrorCode } from '@keyturn/primitives/node'
import { cutLocally, fetchIndex, knownIndex } from '../fetch/chunk-index.ts'
import { inParallel, look, placeInside, syncFolders } from '../disk/disk.ts'
import type { FileIdentity } from '../disk/disk.ts'
import { findStaged, SMALL_BLOB_BYTES, stageSmallBlob } from '../fetch/download.ts'
import type { DownloadContext } from '../fetch/download.ts'
import type { Layout } from '../disk/layout.ts'
import { keptPieces, plainChunks } from '../fetch/part-file.ts'
import type { Chunk } from '../fetch/part-file.ts'
import type { Plan, PlannedWrite } from './plan.ts'
import { missingFrom, Seeds } from '../fetch/seeds.ts'
import { stageBlob } from '../fetch/stage-blob.ts'
import { settleAt } from '../disk/settled-file.ts'
import { removalStep } from './transaction.ts'
import type { TransactionStep } from './transaction.ts'

/** What a copy that cannot be made for want of its source fails with. */
const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM'])

/** Everything a plan needs is in staging, verified. */
export interface Staged {
  readonly steps: readonly TransactionStep[]
  /** Identities at the time of hashing, by the steps' `staged`. */
  readonly verified: ReadonlyMap<string, FileIdentity>
}

/** What the fetch will cost, and what it works with. */
export interface FetchPlan {
  readonly downloadBytes: number
  /** Bytes that an earlier run fetched already. */
  readonly keptBytes: number
  readonly seeds: Seeds
  /** Chunks by blob, for files that have an index. */
  readonly chunks: ReadonlyMap<string, readonly Chunk[]>
  /** Installed files that should have the very bytes of a blob, the surest first. */
  readonly copies: ReadonlyMap<string, readonly string[]>
}

/** Lists of pieces; fetched where this disk may hold pieces, or where each piece has to be verified as it comes. */
async function loadIndexes(
  context: DownloadContext,
  layout: Layout,
  plan: Plan,
  isWanted: boolean,
): Promise<Map<string, readonly Chunk[]>> {
  const chunks = new Map<string, readonly Chunk[]>()
  const indexed = plan.writes.filter(({ file }) => file.index !== undefined && file.size > SMALL_BLOB_BYTES)
  await inParallel(indexed, context.gate.width, async ({ file }) => {
    if (chunks.has(file.sha256)) return
    const known = await knownIndex(context, layout, file)
    const found = known ?? (isWanted ? await fetchIndex(context, layout, file) : undefined)
    if (found !== undefined) chunks.set(file.sha256, found)
  })
  return chunks
}

async function loadSeeds(
  context: DownloadContext,
  layout: Layout,
  plan: Plan,
  installed: readonly ManifestFile[],
): Promise<Seeds> {
  const seeds = new Seeds(context.fs)
  const wanted = plan.writes.filter(({ file }) => file.index !== undefined && file.size > SMALL_BLOB_BYTES)
  if (wanted.length === 0) return seeds
  const paths = new Set(wanted.map(({ file }) => file.path))
  const listed = new Set(installed.map(({ path }) => path))
  // A folder that nothing is known about may hold an older version of the same file: worth as much as an installed one.
  const unknown = wanted.flatMap(({ file, existed }) => (existed && !listed.has(file.path) ? [file] : []))
  const sources = installed.filter((file) => file.index !== undefined)
  // The same path first: its pieces are the likeliest, and the first place of a piece counts.
  sources.sort((a, b) => Number(paths.has(b.path)) - Number(paths.has(a.path)))
  for (const file of sources) {
    context.signal.throwIfAborted()
    const place = placeInside(layout.root, file.path)
    const found = await look(context.fs, place)
    if (found.kind !== 'file') continue
    const known = await knownIndex(context, layout, file)
    const fetched = known ?? (paths.has(file.path) ? await fetchIndex(context, layout, file) : undefined)
    const chunks = fetched ?? (paths.has(file.path) ? await cutLocally(context, place, found.identity.size) : undefined)
    if (chunks !== undefined) seeds.add(place, chunks)
  }
  for (const file of unknown) {
    context.signal.throwIfAborted()
    const place = placeInside(layout.root, file.path)
    const found = await look(context.fs, place)
    const chunks = found.kind === 'file' ? await cutLocally(context, place, found.identity.size) : undefined
    if (chunks !== undefined) seeds.add(place, chunks)
  }
  return seeds
}

/**
 * Where on this disk the bytes of new files are already: in files that stay, in files that leave, and, until the swap,
 * in files that get other bytes (two that change places). What turns out to be something else is fetched after all.
 */
async function findCopies(
  context: DownloadContext,
  layout: Layout,
  plan: Plan,
  installed: readonly ManifestFile[],
): Promise<Map<string, string[]>> {
  const wanted = new Set(plan.writes.map(({ file }) => file.sha256))
  const leaving = new Set(plan.removals)
  const isSure = new Set([...plan.unchanged.map(({ path }) => path), ...leaving])
  const sources = [...plan.unchanged, ...installed].filter(({ sha256 }) => wanted.has(sha256))
  sources.sort((a, b) => Number(isSure.has(b.path)) - Number(isSure.has(a.path)))
  const copies = new Map<string, string[]>()
  for (const { path, sha256, size } of sources) {
    const place = placeInside(layout.root, path)
    const known = copies.get(sha256) ?? []
    if (known.includes(place)) continue
    const found = await look(context.fs, place)
    if (found.kind === 'file' && found.identity.size === size) copies.set(sha256, [...known, place])
  }
  return copies
}

/** Says what will be fetched, and loads what saves fetching. */
export async function planFetch(
  context: DownloadContext,
  layout: Layout,
  plan: Plan,
  installed: readonly ManifestFile[],
): Promise<FetchPlan> {
  if (plan.writes.length === 0)
    return { downloadBytes: 0, keptBytes: 0, seeds: new Seeds(context.fs), chunks: new Map(), copies: new Map() }
  const seeds = await loadSeeds(context, layout, plan, installed)
  const chunks = await loadIndexes(context, layout, plan, seeds.size > 0 || (await context.source.findsLan()))
  const copies = await findCopies(context, layout, plan, installed)
  let downloadBytes = 0
  let keptBytes = 0
  for (const file of distinctBlobs(plan.writes)) {
    if (copies.has(file.sha256)) continue
    if ((await look(context.fs, join(layout.staging, file.sha256))).kind === 'file') {
      keptBytes += file.size
      continue
    }
    const wanted = missingFrom(seeds, chunks.get(file.sha256) ?? plainChunks(file.size))
    const left = await keptOf(context, file, seeds, chunks.get(file.sha256))
    downloadBytes += wanted - left
    keptBytes += left
  }
  return { downloadBytes, keptBytes, seeds, chunks, copies }
}

/** Bytes of a file that an earlier run fetched. */
async function keptOf(
  context: DownloadContext,
  { sha256, size }: ManifestFile,
  seeds: Seeds,
  pieces: readonly Chunk[] = plainChunks(size),
): Promise<number> {
  const has = await keptPieces({ fs: context.fs, folder: context.staging, sha256 }, pieces)
  if (has === undefined) return 0
  return missingFrom(
    seeds,
    pieces.filter((_, index) => has(index)),
  )
}

/** Each blob once, as its first place wants it. */
function distinctBlobs(writes: readonly PlannedWrite[]): ManifestFile[] {
  const blobs = new Map<string, ManifestFile>()
  for (const { file } of writes) if (!blobs.has(file.sha256)) blobs.set(file.sha256, file)
  return [...blobs.values()]
}

/** Brings every blob of the plan into staging, whole and verified. */
export async function stageAll(
  context: DownloadContext,
  layout: Layout,
  plan: Plan,
  fetchPlan: FetchPlan,
): Promise<Staged> {
  const identities = new Map<string, FileIdentity>()
  const blobs = distinctBlobs(plan.writes)
  blobs.sort((a, b) => b.size - a.size) // the long ones first, so that no connection idles at the end
  await inParallel(blobs, context.gate.width, async (file) => {
    context.signal.throwIfAborted()
    const identity = await stageOne(context, layout, file, fetchPlan)
    identities.set(file.sha256, identity)
    context.verified?.set(`staging/${file.sha256}`, identity)
    context.meter.did({ files: 1 })
  })
  const staged = await layOut(context, layout, plan, identities)
  await syncFolders(context.fs, [layout.staging, layout.updates])
  return staged
}

async function stageOne(
  context: DownloadContext,
  layout: Layout,
  file: ManifestFile,
  fetchPlan: FetchPlan,
): Promise<FileIdentity> {
  const known = await findStaged(context, file)
  if (known !== undefined) return known
  const copies = fetchPlan.copies.get(file.sha256) ?? []
  for (const copy of copies) {
    const identity = await copyInstalled(context, file, copy)
    if (identity !== undefined) return identity
  }
  if (copies.length > 0) context.meter.expect({ download: file.size })
  if (file.size <= SMALL_BLOB_BYTES) return await stageSmallBlob(context, file)
  const { seeds, chunks } = fetchPlan
  const onBytes = (count: number): void => context.meter.did({ disk: count })
  const pieces = { known: chunks.get(file.sha256), fetch: () => fetchIndex(context, layout, file) }
  return await stageBlob(context, file, pieces, (part) => seeds.fill(part, { signal: context.signal, onBytes }))
}

/** Copies an installed file with the right bytes; sharing the disk blocks where the file system can. */
async function copyInstalled(
  context: DownloadContext,
  file: ManifestFile,
  from: string,
): Promise<FileIdentity | undefined> {
  const { COPYFILE_EXCL, COPYFILE_FICLONE } = constants
  const target = join(context.staging, file.sha256)
  try {
    await context.fs.copyFile(from, target, COPYFILE_EXCL | COPYFILE_FICLONE)
  } catch (error) {
    if (!GONE.has(systemErrorCode(error) ?? '')) throw error
    return undefined // it left, or may not be read: there is still the network
  }
  const identity = await settleAt(context, target, file, {
    sync: true,
    onBytes: (count) => context.meter.did({ disk: count }),
  })
  if (identity === undefined) await context.fs.rm(target, { force: true }) // it changed since the plan was made
  return identity
}

/** One staged file for each place it goes to. */
async function layOut(
  context: DownloadContext,
  layout: Layout,
  plan: Plan,
  identities: ReadonlyMap<string, FileIdentity>,
): Promise<Staged> {
  const verified = new Map<string, FileIdentity>()
  const first = new Map(distinctBlobs(plan.writes).map((file) => [file.sha256, file]))
  const uses = new Map<string, number>()
  const steps: TransactionStep[] = []
  for (const { file, existed } of plan.writes) {
    const use = uses.get(file.sha256) ?? 0
    uses.set(file.sha256, use + 1)
    const name = use === 0 ? file.sha256 : `${file.sha256}.copy${use}`
    const isStaged = use === 0 && first.get(file.sha256)?.executable === file.executable
    const identity = isStaged
      ? identities.get(file.sha256)
      : await restage(context, file, join(layout.staging, name), use > 0)
    const staged = `staging/${name}`
    if (identity !== undefined) verified.set(staged, identity)
    steps.push({ path: file.path, existed, sha256: file.sha256, staged })
  }
  for (const path of plan.removals) steps.push(removalStep(path, plan.leaving))
  return { steps, verified }
}

/**
 * The same bytes for another place, or with another mode; what does not settle is hashed again before it is put in
 * place.
 */
async function restage(
  context: DownloadContext,
  file: ManifestFile,
  place: string,
  isCopy: boolean,
): Promise<FileIdentity | undefined> {
  if (isCopy) {
    await context.fs.rm(place, { force: true })
    await context.fs.copyFile(join(context.staging, file.sha256), place)
  }
  const identity = await settleAt(context, place, file, { sync: true })
  await syncFolder(context.staging, context.fs)
  return identity
}
