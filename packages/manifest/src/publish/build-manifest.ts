import { requireList, requireMembers } from '@keyturn/primitives'
import { checkManifestContent, manifestTotals } from '../check-manifest.ts'
import type {
  Component,
  ContentKey,
  LauncherFile,
  ManifestFile,
  Platform,
  ReleaseManifest,
  Requirements,
} from '../model.ts'
import { DEFAULT_FORMAT } from '../parse-manifest.ts'
import { formatTime } from '../time.ts'
import { checkDatedVersion, checkVersionName } from '../version.ts'
import { sortFiles } from '../write-manifest.ts'

/** One file of a release tree; what is left out has its default. */
export interface ManifestEntry extends Omit<ManifestFile, 'platform' | 'required' | 'executable'> {
  /** `all` by default. */
  readonly platform?: Platform | undefined
  /** True by default. */
  readonly required?: boolean | undefined
  /** False by default. */
  readonly executable?: boolean | undefined
}

/** What makes a manifest one of schema 2. */
export interface ReleasePlace {
  /** Product. */
  readonly product: string
  /** Channel. */
  readonly channel: string
  /** Epoch of the role document in force. */
  readonly epoch: number
  /** One more than the last manifest of the channel. */
  readonly sequence: number
  /** Number of the role document in force. */
  readonly rolesVersion?: number | undefined
  /** SHA-256 of the last manifest of the channel. */
  readonly previousSha256?: string | undefined
  /** How long it may be installed; 365 days by default, at most 400. */
  readonly validityMs?: number | undefined
  /** Content keys of the archives. */
  readonly contentKeys?: readonly ContentKey[] | undefined
  /** Field names that readers have to understand. */
  readonly critical?: readonly string[] | undefined
  /** Highest format version of the archives, when it is not 1. Name `archive_format` in `critical` with it. */
  readonly archiveFormat?: number | undefined
  /** Paths to remove. */
  readonly delete?: readonly string[] | undefined
  /** Globs of files that players may edit. */
  readonly keep?: readonly string[] | undefined
  /** The file a launcher starts, by platform. */
  readonly program?: Readonly<Record<string, string>> | undefined
  /** What players may leave out. */
  readonly components?: readonly Component[] | undefined
  /** What a machine needs. */
  readonly requires?: Requirements | undefined
  /** Version whose files come back. */
  readonly rollbackOf?: string | undefined
  /** Identity that installs with pinned keys move to. */
  readonly trustRoot?: string | undefined
}

/** Everything about a release but its files. */
export interface BuildManifestOptions {
  /** Name of the release, see `checkVersionName`; `YYYY.MM.DD-N` in a manifest of schema 1. */
  readonly version: string
  /** Now, milliseconds since 1970. */
  readonly nowMs: number
  /** `legacy-json-blob` by default. */
  readonly format?: string | undefined
  /** Version that this one replaces. */
  readonly previous?: string | undefined
  /** Markdown for players. */
  readonly notes?: string | undefined
  /** Oldest launcher that may apply it. */
  readonly minLauncherVersion?: string | undefined
  /** The launcher. Schema 1 needs one. */
  readonly launcher?: (Omit<LauncherFile, 'platform'> & { readonly platform?: Platform | undefined }) | undefined
  /** Place among the releases; without it the manifest is of schema 1. */
  readonly release?: ReleasePlace | undefined
  /** Schema 1 only: allows versions like `2026.04.15-full`; false by default. */
  readonly allowTag?: boolean | undefined
}

const DAY_MS = 24 * 60 * 60 * 1000
const DEFAULT_VALIDITY_MS = 365 * DAY_MS

type Extension = Omit<ReleaseManifest, 'format' | 'version' | 'createdAt' | 'files' | 'launcher'>

function extension(place: ReleasePlace, nowMs: number, files: readonly ManifestFile[]): Extension {
  const {
    validityMs = DEFAULT_VALIDITY_MS,
    contentKeys = [],
    critical = [],
    delete: removed = [],
    keep = [],
    components = [],
    program,
    archiveFormat,
    ...rest
  } = place
  return {
    schema: 2,
    ...rest,
    issuedAt: formatTime(nowMs),
    expiresAt: formatTime(nowMs + validityMs),
    contentKeys,
    critical,
    delete: removed,
    keep,
    program,
    archiveFormat,
    components,
    totals: manifestTotals(files),
  }
}

/**
 * Makes the model of a manifest from the files of a release tree; `writeManifest` makes its bytes.
 *
 * @param entries - The files, in any order.
 * @param options - The rest.
 * @throws {@link ManifestError} `MAN_VERSION`, `MAN_PATH`, `MAN_PATH_COLLISION`, `MAN_SCHEMA`.
 */
export function buildManifest(entries: readonly ManifestEntry[], options: BuildManifestOptions): ReleaseManifest {
  requireList(entries, 'entries')
  requireMembers(options, 'options', ['version', 'nowMs'])
  const { version, nowMs, launcher, release, format = DEFAULT_FORMAT } = options
  // Schema 1 orders releases by their versions, schema 2 by their sequences.
  if (release === undefined) checkDatedVersion(version, options.allowTag)
  else checkVersionName(version)
  if (release === undefined && launcher === undefined) throw new TypeError('A manifest of schema 1 needs a launcher')
  const files = sortFiles(
    entries.map(({ platform = 'all', required = true, executable = false, ...rest }) => ({
      ...rest,
      platform,
      required,
      executable,
    })),
  )
  const manifest: ReleaseManifest = {
    format,
    version,
    createdAt: formatTime(nowMs),
    previous: options.previous,
    notes: options.notes,
    minLauncherVersion: options.minLauncherVersion,
    launcher: launcher && { ...launcher, platform: launcher.platform ?? 'all' },
    files,
    ...(release === undefined
      ? { schema: 1, contentKeys: [], critical: [], delete: [], keep: [], components: [] }
      : extension(release, nowMs, files)),
  }
  checkManifestContent(manifest)
  return manifest
}

/** The pin by which a head names a manifest. */
export function manifestPin(
  manifest: ReleaseManifest,
  sha256: string,
  length: number,
): {
  version: string
  sequence: number
  sha256: string
  length: number
} {
  if (manifest.sequence === undefined) throw new TypeError('A manifest without a sequence cannot be pinned')
  return { version: manifest.version, sequence: manifest.sequence, sha256, length }
}
