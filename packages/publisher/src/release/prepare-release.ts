import { resolve } from 'node:path'
import { buildManifest, nextVersion, writeManifest } from '@keyturn/manifest/publish'
import { sha256Hex } from '@keyturn/primitives'
import type { Component, ContentKey, IndexReference, ReleaseManifest, Requirements } from '@keyturn/manifest'
import type { ManifestEntry, ReleasePlace } from '@keyturn/manifest/publish'
import { PublisherError } from '../errors.ts'
import { activeContentKey } from '../home.ts'
import type { HomeContentKey, HomeDescription } from '../home.ts'
import type { Progress } from '../session.ts'
import { describeArchive } from '../tree/archive-facts.ts'
import { describeFile } from '../tree/file-facts.ts'
import type { FileFacts } from '../tree/file-facts.ts'
import type { HomeSession } from '../home-session.ts'
import { isExcluded, refuseSecrets } from '../tree/exclusions.ts'
import type { Selection } from '../tree/exclusions.ts'
import type { Layout } from '../tree/layout.ts'
import { pathWarnings, refusePaths } from '../tree/path-problems.ts'
import { checkRolesLast } from './sign-release.ts'
import { newestRelease } from '../records/sealed.ts'
import { keepRelease, rolesInForce, takenVersions } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { hashFile, listTree } from '../tree/tree.ts'
import type { TreeFile } from '../tree/tree.ts'

const DAY_MS = 86_400_000
/** The member of a manifest that launchers have to understand when archives are not of version 1. */
const ARCHIVE_FORMAT = 'archive_format'

/** What a release is made of. */
export interface ReleasePlan {
  /** Folder with the files as players get them: archives, and whatever is beside them. */
  readonly tree: string
  readonly channel: string
  /** Default: today with the next number. */
  readonly version?: string | undefined
  /** Markdown for players. */
  readonly notes?: string | undefined
  /** Days until the manifest expires, at most 400; default 365. */
  readonly days?: number | undefined
  readonly minLauncherVersion?: string | undefined
  /** Default: `m2pack` when the tree holds an archive, else `legacy-json-blob`. */
  readonly format?: string | undefined
  /** Allow a version like `2026.04.15-full`; default false. */
  readonly allowTag?: boolean | undefined
  /**
   * Path, in the tree, of the launcher: target of its self-update, not one of the files. The original launcher wants
   * one.
   */
  readonly launcher?: string | undefined
  /** `did:keri:…` that installs with pinned keys move to when they accept this release. */
  readonly trustRoot?: string | undefined
  /** Files that players may change, as globs: installed once, never set back. */
  readonly keep?: readonly string[] | undefined
  /** Program to start, by system (`windows`, `linux`, `macos`): a path in the tree. */
  readonly program?: Readonly<Record<string, string>> | undefined
  /** Who gets which file, from `planTree`; default: everybody gets all of them. */
  readonly layout?: Layout | undefined
  /** What players may leave out; one that no file belongs to is not listed. */
  readonly components?: readonly Component[] | undefined
  /** What a machine needs. */
  readonly requires?: Requirements | undefined
  /** Files left out or taken against the rules for junk and secrets. */
  readonly selection?: Selection | undefined
  /** A release with the same files: the new manifest repeats what that one says and the plan does not. */
  readonly like?: ReleaseManifest | undefined
  /** A sequence that is taken, as are those below it; default 0. */
  readonly after?: number | undefined
  /** The release goes back to the files of this version. */
  readonly rollbackOf?: string | undefined
  /** Which files of the tree belong in the release; default: all of them. */
  readonly keeps?: ((path: string, all: ReadonlySet<string>) => boolean) | undefined
  /** The release is scheduled: its archives are under a key that no other release names. */
  readonly sealed?: SealedPlan | undefined
  /** Called with what the publisher should know about the paths of the release. */
  readonly warn?: ((text: string) => void) | undefined
  readonly nowMs: number
  readonly signal: AbortSignal
  readonly progress?: Progress | undefined
}

/** What is particular about the manifest of a scheduled release. */
export interface SealedPlan {
  /** Its content key. */
  readonly key: HomeContentKey
  /** Leaves room for what is released before its time. */
  readonly sequence: number
  /** The draft of the same version, whose place it takes. */
  readonly replaces: string
  /** Where chunks of each archive may be cut by force, by path: where carried-over pieces start. */
  readonly cuts: ReadonlyMap<string, readonly number[]>
}

/**
 * Makes the manifest of a release tree, unsigned, and keeps it in the home as `releases/<channel>/<version>`. Nothing
 * is uploaded.
 *
 * @throws {@link PublisherError} `BUILD_SPECIAL_FILE`, `BUILD_INPUT_CHANGED`, `BUILD_EMPTY`, `BUILD_FOREIGN_ARCHIVE`;
 *   those of the manifest.
 */
export async function prepareRelease(home: HomeSession, wanted: ReleasePlan): Promise<StoredRelease> {
  const { description, paths } = home
  const plan = likeBefore(wanted)
  const tree = resolve(plan.tree)
  const earlier = await newestRelease(home, plan.channel, plan.sealed?.replaces)
  const roles = await rolesInForce(paths, description.identity.prefix)
  checkRolesLast(roles.document, plan.nowMs)
  const chosen = await chosenFiles(tree, plan)
  const warnings = pathWarnings(
    chosen.map(({ path }) => path),
    earlier?.manifest,
  )
  const { files, indexes, archiveFormat } = await describeFiles(
    chosen.filter(({ path }) => path !== plan.launcher),
    description,
    plan,
  )
  const launcher = plan.launcher === undefined ? undefined : await describeLauncher(chosen, plan.launcher, plan.signal)
  const manifest = buildManifest(sameTraits(plannedTraits(files, plan.layout), plan.like), {
    version: plan.version ?? nextVersion(plan.nowMs, await takenVersions(paths)),
    allowTag: plan.allowTag === true,
    nowMs: plan.nowMs,
    format: formatFor(files, plan, earlier),
    previous: earlier?.manifest.version,
    notes: plan.notes,
    minLauncherVersion: plan.minLauncherVersion,
    launcher,
    release: {
      product: description.product,
      channel: plan.channel,
      ...installRules(plan),
      ...archiveTerms(archiveFormat, plan.like),
      ...choices(plan),
      trustRoot: plan.trustRoot,
      epoch: roles.document.epoch,
      sequence: plan.sealed?.sequence ?? Math.max(earlier?.manifest.sequence ?? 0, plan.after ?? 0) + 1,
      rolesVersion: roles.document.version,
      previousSha256: earlier?.sha256,
      validityMs: (plan.days ?? 365) * DAY_MS,
      contentKeys: contentKeysOf(description, plan.sealed?.key),
    },
  })
  for (const warning of warnings) plan.warn?.(warning)
  if (archiveFormat !== (earlier?.manifest.archiveFormat ?? 1)) plan.warn?.(formatWarning(archiveFormat, earlier))
  const replaces = plan.sealed !== undefined
  return await keepRelease(home.paths, { bytes: writeManifest(manifest), tree, indexes, replaces })
}

/** What a plan does not say is as in the release that it is like. */
function likeBefore(plan: ReleasePlan): ReleasePlan {
  const { like } = plan
  return {
    ...plan,
    notes: plan.notes ?? like?.notes,
    minLauncherVersion: plan.minLauncherVersion ?? like?.minLauncherVersion,
    format: plan.format ?? like?.format,
    launcher: plan.launcher ?? like?.launcher?.path,
  }
}

/** What a manifest says of a file beside its bytes. */
function sameTraits(files: readonly ManifestEntry[], like: ReleaseManifest | undefined): readonly ManifestEntry[] {
  const before = new Map(like?.files.map((file) => [file.path, file]))
  return files.map((file) => {
    const known = before.get(file.path)
    if (known === undefined) return file
    const { platform, required, executable, group } = known
    return { ...file, platform, required, executable, group }
  })
}

/** Who gets a file, as its project says. */
function plannedTraits(files: readonly ManifestEntry[], layout: Layout | undefined): readonly ManifestEntry[] {
  if (layout === undefined) return files
  const planned = new Map([...layout.archives, ...layout.loose].map((place) => [place.path, place]))
  return files.map((file) => {
    const { platform, group } = planned.get(file.path) ?? {}
    return { ...file, ...(platform === undefined ? {} : { platform }), ...(group === undefined ? {} : { group }) }
  })
}

/** What players may choose, and what their machine needs. */
function choices({ components, requires, layout, like }: ReleasePlan): Partial<ReleasePlace> {
  const used = new Set([...(layout?.archives ?? []), ...(layout?.loose ?? [])].map(({ group }) => group))
  return {
    components:
      components?.flatMap(({ name, title, default: chosen }) =>
        used.has(name) ? [{ name, title, default: chosen }] : [],
      ) ?? like?.components,
    requires: requires ?? like?.requires,
  }
}

/** A launcher from before version 2 refuses the release, with all of the installed one in place. */
function archiveTerms(version: number, like: ReleaseManifest | undefined): Partial<ReleasePlace> {
  const others = (like?.critical ?? []).filter((name) => name !== ARCHIVE_FORMAT)
  return version === 1 ? { critical: others } : { critical: [...others, ARCHIVE_FORMAT].sort(), archiveFormat: version }
}

function formatWarning(version: number, earlier: StoredRelease | undefined): string {
  const older =
    'Launchers from before format version 2 refuse this release (MAN_CRITICAL), and clients need a reader that knows it'
  const whole = `Archives are of format version ${version} now: players download them whole, once`
  return [...(earlier === undefined ? [] : [whole]), ...(version === 1 ? [] : [older])].join('. ')
}

/** What a manifest says of an install. */
function installRules({ like, keep, program, rollbackOf }: ReleasePlan): Partial<ReleasePlace> {
  return {
    delete: like?.delete,
    keep: keep ?? like?.keep ?? [],
    program: program ?? like?.program,
    rollbackOf,
  }
}

/** A source folder given in place of a release tree would put everything in the clear on players' disks. */
function formatFor(files: readonly ManifestEntry[], { format, channel }: ReleasePlan, earlier?: StoredRelease): string {
  const found = files.some((file) => file.keyId !== undefined) ? 'm2pack' : 'legacy-json-blob'
  if (format === undefined && earlier?.manifest.format === 'm2pack' && found !== 'm2pack')
    throw new PublisherError(
      'BUILD_FORMAT_CHANGED',
      `Release ${earlier.manifest.version} on channel "${channel}" has encrypted archives, this tree has none`,
      { hint: 'Give the folder that "keyturn pack tree" made, or --format legacy-json-blob if that is meant' },
    )
  return format ?? found
}

async function chosenFiles(tree: string, { keeps = () => true, selection }: ReleasePlan): Promise<TreeFile[]> {
  const listed = await listTree(tree)
  const all = new Set(listed.map(({ path }) => path))
  const chosen = listed.filter(({ path }) => !isExcluded(path, selection) && keeps(path, all))
  if (chosen.length === 0) throw new PublisherError('BUILD_EMPTY', `No file of "${tree}" is left after exclusion`)
  refuseSecrets(
    chosen.map(({ path }) => path),
    selection,
  )
  refusePaths(
    tree,
    chosen.map(({ path }) => path),
  )
  return chosen
}

async function describeLauncher(
  chosen: readonly TreeFile[],
  path: string,
  signal: AbortSignal,
): Promise<{ path: string; sha256: string; size: number }> {
  const file = chosen.find((candidate) => candidate.path === path)
  if (file === undefined) throw new PublisherError('CLI_PATH_UNKNOWN', `The launcher "${path}" is not in the tree`)
  return { path, sha256: await hashFile(file, signal), size: file.size }
}

/**
 * The home's content keys as the manifest lists them; one has to be in force. That of a scheduled release is named by
 * its own manifest alone.
 */
export function contentKeysOf(description: HomeDescription, sealed?: HomeContentKey): ContentKey[] {
  activeContentKey(description)
  const listed =
    sealed === undefined
      ? description.contentKeys
      : [...description.contentKeys.map((key) => (key.status === 'active' ? retired(key) : key)), sealed]
  return listed.map(({ keyId, verifierPub, commitment, status }) => ({
    keyId,
    verifierPub,
    commitment,
    status,
  }))
}

const retired = (key: HomeContentKey): HomeContentKey => ({ ...key, status: 'retired' })

interface DescribedFiles {
  readonly files: ManifestEntry[]
  readonly indexes: Map<string, Uint8Array>
  /** Highest format version of the archives, 1 without any. */
  readonly archiveFormat: number
}

async function describeFiles(
  tree: readonly TreeFile[],
  { contentKeys: own }: HomeDescription,
  plan: ReleasePlan,
): Promise<DescribedFiles> {
  const total = tree.reduce((sum, { size }) => sum + size, 0)
  const known = plan.sealed === undefined ? own : [...own, plan.sealed.key]
  const indexes = new Map<string, Uint8Array>()
  const files: ManifestEntry[] = []
  let [done, archiveFormat] = [0, 1]
  for (const file of tree) {
    const isArchive = file.path.endsWith('.m2p')
    const facts: FileFacts & { readonly keyId?: number; readonly version?: number } = isArchive
      ? await describeArchive(file, known, plan)
      : await describeFile(file, [], plan.signal)
    files.push({
      path: file.path,
      sha256: facts.sha256,
      size: file.size,
      executable: file.executable,
      ...(facts.keyId === undefined ? {} : { keyId: facts.keyId }),
      ...indexReference(facts, indexes),
    })
    archiveFormat = Math.max(archiveFormat, facts.version ?? 1)
    done += file.size
    plan.progress?.update(done, total)
  }
  return { files, indexes, archiveFormat }
}

function indexReference(facts: FileFacts, indexes: Map<string, Uint8Array>): { index?: IndexReference } {
  if (facts.index === undefined) return {}
  const { bytes, chunks, params } = facts.index
  const sha256 = sha256Hex(bytes)
  indexes.set(sha256, bytes)
  return { index: { sha256, size: bytes.length, chunks, params } }
}

/**
 * Keeps a release in the home, whole or not at all.
 *
 * @param home - Open home, locked.
 * @param manifest - What it says.
 * @param tree - Folder of its files.
 * @param indexes - Its chunk indexes by SHA-256.
 */
export async function storeRelease(
  home: HomeSession,
  manifest: ReleaseManifest,
  tree: string,
  indexes: ReadonlyMap<string, Uint8Array>,
): Promise<StoredRelease> {
  return await keepRelease(home.paths, { bytes: writeManifest(manifest), tree, indexes })
}
