import { matchesGlob } from '@keyturn/manifest'
import { printable } from '@keyturn/primitives'
import { PublisherError } from '../errors.ts'
import { PROJECT_FILE } from '../names.ts'

/** What the system or an editor leaves behind: never part of a release unless it is named. */
const JUNK_NAMES = ['.DS_Store', 'Thumbs.db', 'desktop.ini', '*.tmp', '*~', '*.swp', '~$*', '.~lock.*']
const JUNK_FOLDERS = new Set(['.git', '.svn', '.hg'])

/** Names of files that usually hold a secret. */
const SECRET_NAMES = [
  '.env',
  '.env.*',
  '*.pem',
  '*.key',
  '*.p12',
  '*.pfx',
  'id_rsa',
  'id_dsa',
  'id_ecdsa',
  'id_ed25519',
]

/** Which files of a tree a release leaves out or takes. */
export interface Selection {
  /** Left out. */
  readonly exclude?: readonly string[] | undefined
  /** Taken although the rules would leave them out or refuse them. */
  readonly include?: readonly string[] | undefined
}

const matchesAny = (globs: readonly string[], path: string): boolean => globs.some((glob) => matchesGlob(glob, path))

function isJunk(path: string): boolean {
  const parts = path.split('/')
  return parts.slice(0, -1).some((part) => JUNK_FOLDERS.has(part)) || matchesAny(JUNK_NAMES, path)
}

/**
 * Whether a release leaves a file out: by the publisher's word, or because it is junk.
 *
 * @param path - Relative, forward slashes.
 */
export function isExcluded(path: string, { exclude = [], include = [] }: Selection = {}): boolean {
  return matchesAny(exclude, path) || (isJunk(path) && !matchesAny(include, path))
}

/**
 * Refuses files that usually hold a secret, all at once: a release goes to everyone, and cannot be called back.
 *
 * @param paths - Files that would be part of the release.
 * @throws {@link PublisherError} `BUILD_SECRET`.
 */
export function refuseSecrets(paths: readonly string[], { include = [] }: Selection = {}): void {
  const found = paths.filter((path) => matchesAny(SECRET_NAMES, path) && !matchesAny(include, path))
  if (found.length === 0) return
  const shown = found.slice(0, 10).map((path) => `"${printable(path, 120)}"`)
  const more = found.length > shown.length ? ` and ${found.length - shown.length} more` : ''
  throw new PublisherError('BUILD_SECRET', `These files look like secrets: ${shown.join(', ')}${more}`, {
    hint:
      'Move them out of the tree, or leave them out with --exclude. If players may have them, name them with ' +
      `--include. In ${PROJECT_FILE}, these are the members "exclude" and "include"`,
  })
}
