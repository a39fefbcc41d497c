import { lstat, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { holdsManifestOnly } from '@keyturn/m2pack-format'
import type { Archive, ArchiveFormat, BuildResult, FormatVersion } from '@keyturn/m2pack-format'
import { buildFolder, Crew, openArchiveFile, openFileSource } from '@keyturn/m2pack-format/node'
import type { ArchiveFile } from '@keyturn/m2pack-format/node'
import type { ReleaseManifest } from '@keyturn/manifest'
import { hexDecode } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import { activeContentKey, keyAlias } from '../home.ts'
import type { HomeContentKey, HomeDescription, SealedKey } from '../home.ts'
import type { Progress } from '../session.ts'
import type { HomeSession } from '../home-session.ts'
import { isExcluded, refuseSecrets } from './exclusions.ts'
import type { Selection } from './exclusions.ts'
import { inLanes } from './in-lanes.ts'
import { planLayout } from './layout.ts'
import type { Layout, LayoutRules, PlannedArchive } from './layout.ts'
import { refusePaths } from './path-problems.ts'
import { looksOf } from './looks.ts'
import type { Looks } from './looks.ts'
import { StatCache } from './stat-cache.ts'
import { copyTreeFile, listPaths } from './tree.ts'
import { copyUnchanged, notePacked } from './unchanged-archive.ts'

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

/** Archives that are copied at the same time: while one waits for the disk, others are read and proved. */
const COPIES = 4

/**
 * Packs a source into archives under the content key in force, and copies what players get as it is.
 *
 * @throws {@link PublisherError} those of {@link planTree}; those of the archive format.
 */
export async function packTree(home: HomeSession, plan: PackPlan): Promise<PackReport> {
  const { remember, signal } = plan
  const cache = remember === undefined ? undefined : await StatCache.open(home, plan.input, remember())
  const layout = await planTree(plan)
  await mkdir(plan.output, { recursive: true })
  const packing = new Packing(home, plan, cache)
  const seen = layout.archives.map((planned) => packing.look(planned))
  packing.expect(seen)
  const changed = new Set(seen)
  await inLanes(seen, COPIES, async (one) => {
    signal.throwIfAborted()
    if (await packing.copy(one)) changed.delete(one)
  })
  await packing.buildAll(changed)
  for (const { path } of layout.loose) {
    signal.throwIfAborted()
    const source = join(plan.input, path)
    const executable = ((await lstat(source)).mode & 0o111) !== 0
    await copyTreeFile({ path, source, executable }, join(plan.output, path))
  }
  if (remember !== undefined) await cache?.save(remember())
  return packing.report
}

/** An archive to make, and how its files look; undefined without a cache, or where a file is gone. */
interface SeenArchive {
  readonly planned: PlannedArchive
  readonly looks: Looks | undefined
  readonly from: string | undefined
  readonly to: string
}

/** Makes the archives of a tree, and counts them. */
class Packing {
  readonly #home: HomeSession
  readonly #plan: PackPlan
  readonly #cache: StatCache | undefined
  #report: PackReport = { archives: 0, files: 0, originalBytes: 0, archiveBytes: 0, carriedFiles: 0 }
  #totalBytes: number | undefined

  constructor(home: HomeSession, plan: PackPlan, cache: StatCache | undefined) {
    this.#home = home
    this.#plan = plan
    this.#cache = cache
  }

  get report(): PackReport {
    return this.#report
  }

  look(planned: PlannedArchive): SeenArchive {
    const { input, output, previous } = this.#plan
    return {
      planned,
      looks: this.#cache === undefined ? undefined : looksOf(input, planned),
      from: previous === undefined ? undefined : join(previous, planned.path),
      to: join(output, planned.path),
    }
  }

  /** What is to be packed, so that a watcher sees from the first byte on how far it is. */
  expect(seen: readonly SeenArchive[]): void {
    const { input, progress } = this.#plan
    if (progress === undefined) return
    const looks = seen.map(({ planned, looks: known }) => known ?? looksOf(input, planned))
    this.#totalBytes = looks.reduce((sum, one) => sum + (one?.originalBytes ?? 0), 0)
  }

  /** Only under the keys in force, and in the format that is wanted, packing again gives the archive before. */
  get #made(): string {
    const { description } = this.#home
    const { keyId, verifierPub } = activeContentKey(description)
    return [keyId, verifierPub, ...description.slots].join(' ')
  }

  /** Whether it could be copied. */
  async copy({ planned, looks, from, to }: SeenArchive): Promise<boolean> {
    const [cache, { formatVersion, signal }] = [this.#cache, this.#plan]
    if (cache === undefined || looks === undefined || from === undefined) return false
    const known = cache.find(planned.path, looks, this.#made)
    if (known === undefined || (formatVersion ?? known.version) !== known.version) return false
    await mkdir(dirname(to), { recursive: true })
    if (!(await copyUnchanged({ cache, path: planned.path, known, from, to, signal }))) return false
    const { files, originalBytes } = looks
    this.#count({ files, originalBytes, archiveBytes: known.archiveBytes, carriedFiles: files })
    return true
  }

  /** Packs archives one after the other, on the same threads. */
  async buildAll(changed: ReadonlySet<SeenArchive>): Promise<void> {
    if (changed.size === 0) return
    const crew = new Crew(this.#plan.jobs)
    try {
      for (const one of changed) {
        this.#plan.signal.throwIfAborted()
        await this.#build(one, crew)
      }
    } finally {
      await crew.close()
    }
  }

  async #build({ planned, looks, from, to }: SeenArchive, crew: Crew): Promise<void> {
    const [cache, { input, formatVersion, signal }] = [this.#cache, this.#plan]
    await mkdir(dirname(to), { recursive: true })
    const previous = await openPrevious(this.#home, from)
    try {
      const version = formatVersion ?? previous?.archive.version ?? 1
      this.#count(await this.#buildOne({ planned, previous: previous?.archive, output: to, version, crew }))
      if (cache === undefined || looks === undefined) return
      await notePacked(cache, { input, planned, looks, archive: to, made: this.#made, version, signal })
    } finally {
      await previous?.close()
    }
  }

  async #buildOne({ planned, previous, output, version, crew }: Building): Promise<BuildResult> {
    const { input, level, signal } = this.#plan
    const { description } = this.#home
    const active = activeContentKey(description)
    const { slots } = description
    const aliases = [keyAlias.content(active.keyId), description.aliases.archiveSigning, ...slots.map(keyAlias.slot)]
    return await (
      await this.#home.keys()
    ).lendAll(
      aliases,
      async ([key, signingSeed, ...secrets]) =>
        await buildFolder(join(input, planned.root), output, {
          contentKey: { keyId: active.keyId, key: key as Uint8Array },
          signingSeed: signingSeed as Uint8Array,
          slots: new Map(slots.map((slot, index) => [slot, secrets[index] as Uint8Array])),
          version,
          previous,
          files: planned.files,
          signal,
          ...(level === undefined ? {} : { level }),
          crew,
          onProgress: ({ bytes }) => this.#show(bytes),
        }),
    )
  }

  #count(done: Omit<PackReport, 'archives'>): void {
    const before = this.#report
    this.#report = {
      archives: before.archives + 1,
      files: before.files + done.files,
      originalBytes: before.originalBytes + done.originalBytes,
      archiveBytes: before.archiveBytes + done.archiveBytes,
      carriedFiles: before.carriedFiles + done.carriedFiles,
    }
    this.#show(0)
  }

  #show(bytes: number): void {
    this.#plan.progress?.update(this.#report.originalBytes + bytes, this.#totalBytes)
  }
}

interface Building {
  readonly planned: PlannedArchive
  readonly previous: Archive | undefined
  readonly output: string
  readonly version: FormatVersion
  readonly crew: Crew
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
