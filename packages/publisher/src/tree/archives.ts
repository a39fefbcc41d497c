import { lstat, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { holdsManifestOnly } from '@keyturn/m2pack-format'
import type { Archive, ArchiveFormat, BuildResult, FormatVersion } from '@keyturn/m2pack-format'
import { buildFolder, openArchiveFile, openFileSource } from '@keyturn/m2pack-format/node'
import type { ArchiveFile } from '@keyturn/m2pack-format/node'
import type { ReleaseManifest } from '@keyturn/manifest'
import { hexDecode, hexEncode } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import { activeContentKey, keyAlias } from '../home.ts'
import type { HomeContentKey, HomeDescription, SealedKey } from '../home.ts'
import type { Progress } from '../session.ts'
import type { HomeSession } from '../home-session.ts'
import { isExcluded, refuseSecrets } from './exclusions.ts'
import type { Selection } from './exclusions.ts'
import { planLayout } from './layout.ts'
import type { Layout, LayoutRules, PlannedArchive } from './layout.ts'
import { refusePaths } from './path-problems.ts'
import { StatCache } from './stat-cache.ts'
import { copyTreeFile, listPaths } from './tree.ts'
import { copyUnchanged, looksOf, notePacked } from './unchanged-archive.ts'
import type { Looks } from './unchanged-archive.ts'

/** How a source tree becomes archives. */
export interface PackPlan {
  /** Source tree. */
  readonly input: string
  /** New folder: the release tree. */
  readonly output: string
  /** Release tree of the release before, or the tables of its archives alone: unchanged files keep their bytes. */
  readonly previous?: string | undefined
  readonly level?: number | undefined
  /** Format version of the archives; default: for each archive that of the one before it, else 1. */
  readonly formatVersion?: FormatVersion | undefined
  readonly jobs?: number | undefined
  /** Files left out or taken against the rules for junk and secrets. */
  readonly selection?: Selection | undefined
  /** Which files are packed together; default: each top folder becomes `pack/<name>.m2p`, loose files are copied. */
  readonly layout?: LayoutRules | undefined
  /**
   * The time, for a home that remembers how source files looked: an archive of which no file changed is copied without
   * reading its source. Undefined reads every file.
   */
  readonly remember?: (() => number) | undefined
  readonly signal: AbortSignal
  readonly progress?: Progress | undefined
}

/** What was packed. */
export interface PackReport {
  readonly archives: number
  readonly files: number
  readonly originalBytes: number
  readonly archiveBytes: number
  /** Files whose stored bytes were taken over from the previous release. */
  readonly carriedFiles: number
}

/**
 * Decides what a release of a source is made of, before anything is packed.
 *
 * @throws {@link PublisherError} `BUILD_SPECIAL_FILE`, `BUILD_EMPTY`, `BUILD_SECRET`, `BUILD_CLAIM`.
 */
export async function planTree(plan: Pick<PackPlan, 'input' | 'selection' | 'layout'>): Promise<Layout> {
  const listed = await listPaths(plan.input)
  const taken = listed.filter((path) => !isExcluded(path, plan.selection))
  if (taken.length === 0) throw new PublisherError('BUILD_EMPTY', `No file in "${plan.input}" is left after exclusion`)
  refuseSecrets(taken, plan.selection)
  refusePaths(plan.input, taken)
  return planLayout(taken, plan.layout)
}

/**
 * Packs a source into archives under the content key in force, and copies what players get as it is.
 *
 * @throws {@link PublisherError} those of {@link planTree}; those of the archive format.
 */
export async function packTree(home: HomeSession, plan: PackPlan): Promise<PackReport> {
  const { remember } = plan
  const cache = remember === undefined ? undefined : await StatCache.open(home, plan.input, remember())
  const layout = await planTree(plan)
  await mkdir(plan.output, { recursive: true })
  const progress = plan.progress && withTotal(plan.progress, await bytesOf(plan.input, layout))
  let report: PackReport = { archives: 0, files: 0, originalBytes: 0, archiveBytes: 0, carriedFiles: 0 }
  for (const archive of layout.archives) {
    plan.signal.throwIfAborted()
    report = await packOne(home, { ...plan, cache, progress }, archive, report)
  }
  for (const { path } of layout.loose) {
    plan.signal.throwIfAborted()
    const source = join(plan.input, path)
    const executable = ((await lstat(source)).mode & 0o111) !== 0
    await copyTreeFile({ path, source, executable }, join(plan.output, path))
  }
  if (remember !== undefined) await cache?.save(remember())
  return report
}

/** What is to be packed, so that a watcher sees how far it is from the first byte on. */
async function bytesOf(input: string, { archives }: Layout): Promise<number> {
  let bytes = 0
  for (const { root, files } of archives) for (const path of files) bytes += (await lstat(join(input, root, path))).size
  return bytes
}

/** A watcher that hears the total each time. */
function withTotal(progress: Progress, totalBytes: number): Progress {
  return { update: (done) => progress.update(done, totalBytes), end: () => progress.end() }
}

interface RememberingPlan extends PackPlan {
  readonly cache: StatCache | undefined
}

async function packOne(
  home: HomeSession,
  plan: RememberingPlan,
  planned: PlannedArchive,
  before: PackReport,
): Promise<PackReport> {
  const output = join(plan.output, planned.path)
  await mkdir(dirname(output), { recursive: true })
  const from = plan.previous === undefined ? undefined : join(plan.previous, planned.path)
  const looks = plan.cache === undefined ? undefined : looksOf(plan.input, planned)
  const previous = await openPrevious(home, from)
  try {
    const copied = await copyOne(home, { plan, planned, looks, previous: previous?.archive, output, before })
    const { files, originalBytes, archiveBytes, carriedFiles } =
      copied ?? (await buildOne(home, plan, { planned, previous: previous?.archive, output, before }))
    if (copied === undefined && plan.cache !== undefined && looks !== undefined)
      await noteOne(home, plan.cache, { plan, planned, looks, output })
    return {
      archives: before.archives + 1,
      files: before.files + files,
      originalBytes: before.originalBytes + originalBytes,
      archiveBytes: before.archiveBytes + archiveBytes,
      carriedFiles: before.carriedFiles + carriedFiles,
    }
  } finally {
    await previous?.close()
  }
}

interface Copying {
  readonly plan: RememberingPlan
  readonly planned: PlannedArchive
  readonly looks: Looks | undefined
  readonly previous: Archive | undefined
  readonly output: string
  readonly before: PackReport
}

/** Only under the keys in force, and from an archive that is there whole, packing again gives the archive before. */
async function copyOne(
  home: HomeSession,
  { plan, planned, looks, previous, output, before }: Copying,
): Promise<Omit<PackReport, 'archives'> | undefined> {
  const { cache, signal } = plan
  if (cache === undefined || looks === undefined || plan.previous === undefined) return undefined
  if (previous === undefined || previous.manifestOnly || previous.sealed) return undefined
  if (plan.formatVersion !== undefined && previous.version !== plan.formatVersion) return undefined
  const active = activeContentKey(home.description)
  const signer = await (await home.keys()).publicKey(home.description.aliases.archiveSigning)
  if (previous.keyId !== active.keyId || hexEncode(signer) !== active.verifierPub) return undefined
  const from = join(plan.previous, planned.path)
  const copied = await copyUnchanged({ cache, planned, looks, previous, from, to: output, signal })
  if (copied === undefined) return undefined
  plan.progress?.update(before.originalBytes + copied.originalBytes)
  return { ...copied, files: looks.size, carriedFiles: looks.size }
}

async function noteOne(
  home: HomeSession,
  cache: StatCache,
  { plan, planned, looks, output }: Omit<Copying, 'previous' | 'looks' | 'before'> & { readonly looks: Looks },
): Promise<void> {
  const made = await openPrevious(home, output)
  if (made === undefined) return
  try {
    await notePacked(cache, plan.input, planned, { looks, archive: made.archive, path: output, signal: plan.signal })
  } finally {
    await made.close()
  }
}

interface Building {
  readonly planned: PlannedArchive
  readonly previous: Archive | undefined
  readonly output: string
  readonly before: PackReport
}

async function buildOne(
  home: HomeSession,
  plan: PackPlan,
  { planned, previous, output, before }: Building,
): Promise<BuildResult> {
  const active = activeContentKey(home.description)
  const { slots } = home.description
  const aliases = [keyAlias.content(active.keyId), home.description.aliases.archiveSigning, ...slots.map(keyAlias.slot)]
  return await (
    await home.keys()
  ).lendAll(
    aliases,
    async ([key, signingSeed, ...secrets]) =>
      await buildFolder(join(plan.input, planned.root), output, {
        contentKey: { keyId: active.keyId, key: key as Uint8Array },
        signingSeed: signingSeed as Uint8Array,
        slots: new Map(slots.map((slot, index) => [slot, secrets[index] as Uint8Array])),
        version: plan.formatVersion ?? previous?.version,
        previous,
        files: planned.files,
        signal: plan.signal,
        ...(plan.level === undefined ? {} : { level: plan.level }),
        ...(plan.jobs === undefined ? {} : { jobs: plan.jobs }),
        onProgress: ({ bytes }) => plan.progress?.update(before.originalBytes + bytes),
      }),
  )
}

/**
 * An archive that is new in this release has none before it. Its content key is not needed: the slots of this home open
 * what unchanged files are under. Only a sealed table, of a release that opened at an hour, does not open without it.
 */
async function openPrevious(home: HomeSession, path: string | undefined): Promise<ArchiveFile | undefined> {
  if (path === undefined || !(await pathExists(path))) return undefined
  const keyId = await archiveKeyId(path)
  const verifiers = new Map([[keyId, hexDecode(contentKeyOf(home.description, keyId).verifierPub)]])
  const manifestOnly = await isTable(path)
  const opened = await openArchiveFile(path, { verifiers, manifestOnly })
  if (opened.archive.listable) return opened
  await opened.close()
  return await (
    await home.keys()
  ).lend(keyAlias.content(keyId), (key) =>
    openArchiveFile(path, { verifiers, manifestOnly, contentKey: { keyId, key } }),
  )
}

async function isTable(path: string): Promise<boolean> {
  const source = await openFileSource(path)
  try {
    return await holdsManifestOnly(source)
  } finally {
    await source.close()
  }
}

/**
 * Opens an archive that was made by this home, with its content key and verifier. Close it.
 *
 * @param home - Open home.
 * @param path - The archive.
 */
export async function openOwnArchive(home: HomeSession, path: string): Promise<ArchiveFile> {
  const keys = await home.keys()
  const keyId = await archiveKeyId(path)
  const known = contentKeyOf(home.description, keyId)
  return await keys.lend(keyAlias.content(keyId), (key) =>
    openArchiveFile(path, {
      verifiers: new Map([[keyId, hexDecode(known.verifierPub)]]),
      contentKey: { keyId, key },
    }),
  )
}

/**
 * Opens an archive of a release that is sealed, with the key that nobody else has yet. Close it.
 *
 * @param home - Open home.
 * @param path - The archive.
 * @param key - From the description of the home.
 */
export async function openSealedArchive(
  home: HomeSession,
  path: string,
  { keyId, verifierPub }: Pick<SealedKey, 'keyId' | 'verifierPub'>,
): Promise<ArchiveFile> {
  const keys = await home.keys()
  return await keys.lend(keyAlias.content(keyId), (key) =>
    openArchiveFile(path, {
      verifiers: new Map([[keyId, hexDecode(verifierPub)]]),
      contentKey: { keyId, key },
    }),
  )
}

/** Format version that a release follows on with when nothing else is said: that of the release before. */
export function formatVersionAfter(before: ReleaseManifest | undefined): FormatVersion {
  return before?.archiveFormat === 2 ? 2 : 1
}

/** How an archive was written, so that another one of the same files can be written alike. */
export async function formatOf(path: string): Promise<ArchiveFormat> {
  const { archive, close } = await openArchiveFile(path, { verifiers: 'unchecked' })
  try {
    return archive.format
  } finally {
    await close()
  }
}

/** The key_id in the header of an archive, or of its table alone. */
export async function archiveKeyId(path: string): Promise<number> {
  const manifestOnly = await isTable(path)
  const { archive, close } = await openArchiveFile(path, { verifiers: 'unchecked', manifestOnly })
  try {
    return archive.keyId
  } finally {
    await close()
  }
}

/**
 * What the home knows of a content key.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`.
 */
export function contentKeyOf(description: HomeDescription, keyId: number): HomeContentKey {
  const known = description.contentKeys.find((key) => key.keyId === keyId)
  if (known === undefined)
    throw new PublisherError('CLI_TURN_UNREADY', `The archive is of content key ${keyId}, which is not in this home`)
  return known
}
