import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { parseManifest, parseRoles, sealedRoles } from '@keyturn/manifest'
import { sha256Hex, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { ReleaseManifest, RoleDocument } from '@keyturn/manifest'
import { sha256DigestSeal, verifyLog } from '@keyturn/kel'
import type { VerifiedLog } from '@keyturn/kel'
import { isMissing, syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import { pathInside } from '../inside.ts'
import { isChannelName } from '../names.ts'
import { PublisherError } from '../errors.ts'
import type { HomePaths } from '../home.ts'

/** A release as it is stored in the home: literal bytes and what they say. */
export interface StoredRelease {
  /** `releases/<channel>/<version>`. */
  readonly folder: string
  /** Literal bytes of `manifest.json`. */
  readonly bytes: Uint8Array
  readonly sha256: string
  readonly manifest: ReleaseManifest
  /** Literal bytes of `manifest.sigs.json`; undefined until it is signed. */
  readonly signatures: Uint8Array | undefined
  /** Folder of the files it was made from. */
  readonly tree: string
}

/** A role document with its literal bytes. */
export interface StoredRoles {
  readonly document: RoleDocument
  readonly bytes: Uint8Array
}

/** Names of the files of a stored release. */
export const releaseFiles = {
  manifest: 'manifest.json',
  signatures: 'manifest.sigs.json',
  legacySignature: 'manifest.json.sig',
  record: 'record.json',
  index: 'index',
} as const

/**
 * Every release of a channel in a home, lowest sequence first.
 *
 * @param paths - Of the home.
 * @param channel - The channel.
 */
export async function readReleases(paths: HomePaths, channel: string): Promise<StoredRelease[]> {
  const folder = join(paths.releases, channel)
  const found: StoredRelease[] = []
  for (const name of await namesIn(folder)) {
    if (name.startsWith('.')) continue
    found.push(await readRelease(paths, join(folder, name)))
  }
  return found.toSorted((a, b) => (a.manifest.sequence ?? 0) - (b.manifest.sequence ?? 0))
}

/**
 * Every version that a release of this home has, on any channel: another build never gets one of them.
 *
 * @param paths - Of the home.
 */
export async function takenVersions(paths: HomePaths): Promise<string[]> {
  const channels = await readReleaseChannels(paths)
  const names = await Promise.all(channels.map((channel) => namesIn(join(paths.releases, channel))))
  return names.flat().filter((name) => !name.startsWith('.'))
}

/** Channels that a home has releases of, in order of their names. */
export async function readReleaseChannels(paths: HomePaths): Promise<string[]> {
  return (await namesIn(paths.releases)).filter((name) => !name.startsWith('.')).toSorted()
}

/**
 * One release of a channel.
 *
 * @param paths - Of the home.
 * @param channel - The channel.
 * @param version - Which; the newest without it.
 * @throws {@link PublisherError} `CLI_PATH_UNKNOWN` when there is none.
 */
export async function findRelease(paths: HomePaths, channel: string, version?: string): Promise<StoredRelease> {
  const all = await readReleases(paths, channel)
  const found = version === undefined ? all.at(-1) : all.find((release) => release.manifest.version === version)
  if (found !== undefined) return found
  throw new PublisherError(
    'CLI_PATH_UNKNOWN',
    `No release ${version === undefined ? '' : `"${version}" `}on channel "${channel}" in this home`,
    { hint: all.length === 0 ? await otherChannels(paths, channel) : releasesHere(all, channel) },
  )
}

const NAMED_AT_MOST = 5

function releasesHere(all: readonly StoredRelease[], channel: string): string {
  const newest = all.slice(-NAMED_AT_MOST).map(({ manifest }) => manifest.version)
  const more = all.length > newest.length ? `, and ${all.length - newest.length} older` : ''
  return `Here are ${newest.join(', ')}${more}: "keyturn release list --channel ${channel}"`
}

/**
 * What to do when a channel has nothing, which is more often a slip of the name than a new channel.
 *
 * @param paths - Of the home.
 * @param channel - The one that was asked for.
 */
export async function otherChannels(paths: HomePaths, channel: string): Promise<string> {
  const folders = await readdir(paths.releases).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const others = folders.filter((name) => name !== channel && isChannelName(name)).toSorted()
  if (others.length === 0) return 'Run "keyturn ship", or "keyturn release prepare"'
  return `This home has releases on ${others.join(', ')}: see --channel. To begin "${channel}", run "keyturn ship --channel ${channel}"`
}

/** The documents of a release. */
export interface ReleaseDocuments {
  /** Literal bytes of the manifest. */
  readonly bytes: Uint8Array
  /** Folder of the files it was made from. */
  readonly tree: string
  /** Chunk indexes by SHA-256. */
  readonly indexes: ReadonlyMap<string, Uint8Array>
  /** Literal bytes of its signatures. */
  readonly signatures?: Uint8Array | undefined
  /** The signature that installs with pinned keys verify. */
  readonly legacySignature?: Uint8Array | undefined
  /** It takes the place of a draft of the same version; default false. */
  readonly replaces?: boolean | undefined
}

/** Where a draft is until the release that takes its place is there. No version starts with a dot. */
export function replacedBy(folder: string): string {
  return join(dirname(folder), `.${basename(folder)}.replaced`)
}

async function setAside(folder: string): Promise<void> {
  await rm(replacedBy(folder), { recursive: true, force: true })
  await rename(folder, replacedBy(folder))
}

/**
 * Keeps a release in a home, whole or not at all.
 *
 * @param paths - Of the home, which is locked.
 * @throws an error of the disk when the release is there already.
 */
export async function keepRelease(paths: HomePaths, documents: ReleaseDocuments): Promise<StoredRelease> {
  const { bytes, tree, indexes, signatures, legacySignature, replaces = false } = documents
  const manifest = parseManifest(bytes)
  const channelFolder = join(paths.releases, manifest.channel ?? '')
  const folder = join(channelFolder, manifest.version)
  const draft = join(channelFolder, `.${manifest.version}.${process.pid}`)
  await mkdir(join(draft, releaseFiles.index), { recursive: true })
  try {
    for (const [sha256, index] of indexes) await writeFileAtomic(join(draft, releaseFiles.index, sha256), index)
    const record = { format: 'keyturn-release', version: 1, tree: treeRecord(paths, tree) }
    const recordText = `${JSON.stringify(record, null, 2)}\n`
    await writeFileAtomic(join(draft, releaseFiles.record), utf8Encode(recordText))
    if (signatures !== undefined) await writeFileAtomic(join(draft, releaseFiles.signatures), signatures)
    if (legacySignature !== undefined) await writeFileAtomic(join(draft, releaseFiles.legacySignature), legacySignature)
    await writeFileAtomic(join(draft, releaseFiles.manifest), bytes)
    if (replaces) await setAside(folder)
    await rename(draft, folder)
    await syncFolder(channelFolder)
    if (replaces) await rm(replacedBy(folder), { recursive: true, force: true })
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw error
  }
  return { folder, bytes, sha256: sha256Hex(bytes), manifest, signatures, tree }
}

/** A tree in the home goes with it wherever it is restored; any other folder is where it was. */
function treeRecord({ folder }: HomePaths, tree: string): string {
  return pathInside(folder, tree) ?? tree
}

async function readRelease(paths: HomePaths, folder: string): Promise<StoredRelease> {
  const bytes = await readFile(join(folder, releaseFiles.manifest))
  const record = parseStrictJson(await readFile(join(folder, releaseFiles.record)), { maxBytes: 65_536 })
  const tree = typeof record === 'object' && record !== null && !Array.isArray(record) ? record['tree'] : undefined
  return {
    folder,
    bytes,
    sha256: sha256Hex(bytes),
    manifest: parseManifest(bytes),
    signatures: await readIfThere(join(folder, releaseFiles.signatures)),
    tree: typeof tree === 'string' ? resolve(paths.folder, tree) : '',
  }
}

/**
 * The role documents that the log of a home seals, version 1 first; the last one is in force. A document that was
 * proposed and not sealed yet is not among them.
 *
 * @throws {@link PublisherError} `CLI_HOME_FORMAT` when one is missing or is not the sealed one.
 */
export async function readRoles(paths: HomePaths, prefix: string): Promise<StoredRoles[]> {
  const { log } = await readIdentityLog(paths, prefix)
  const found: StoredRoles[] = []
  for (const { version, seal } of sealedRoles(log)) {
    const path = join(paths.roles, `${version}.json`)
    const bytes = await readIfThere(path)
    if (bytes === undefined || sha256DigestSeal(bytes).d !== seal) {
      throw new PublisherError('CLI_HOME_FORMAT', `"${path}" is not the role document that the log seals`, {
        hint: 'Restore it from a backup or from the release server',
      })
    }
    found.push({ bytes, document: parseRoles(bytes) })
  }
  return found
}

/** The role document in force. */
export async function rolesInForce(paths: HomePaths, prefix: string): Promise<StoredRoles> {
  const last = (await readRoles(paths, prefix)).at(-1)
  if (last === undefined)
    throw new PublisherError('CLI_HOME_FORMAT', 'The key event log of this home seals no role document')
  return last
}

/** The verified key event log of a home and its literal bytes. */
export async function readIdentityLog(
  paths: HomePaths,
  prefix: string,
): Promise<{ bytes: Uint8Array; log: VerifiedLog }> {
  const bytes = await readFile(paths.identityLog)
  return { bytes, log: verifyLog(bytes, { prefix }) }
}

/** A file's bytes; undefined when it is not there. */
export async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error: NodeJS.ErrnoException): string[] => {
    if (isMissing(error)) return []
    throw error
  })
}
