import { foldPath, ManifestError } from '@keyturn/manifest'
import { checkPath } from '@keyturn/manifest/publish'
import type { ManifestErrorCode, ReleaseManifest } from '@keyturn/manifest'
import { printable } from '@keyturn/primitives'

/** Problems that one message shows. */
const SHOWN = 10
/** Characters of a path that Windows programs open, unless they ask for more in a way of their own. */
const WINDOWS_PATH = 259
/** Of these, what is left for the folder that a player installs in. */
const INSTALL_FOLDER = 60

function list(items: readonly string[]): string {
  const more = items.length > SHOWN ? `, and ${items.length - SHOWN} more` : ''
  return `${items.slice(0, SHOWN).join(', ')}${more}`
}

const quoted = (path: string): string => `"${printable(path, 120)}"`

interface Problem {
  readonly code: ManifestErrorCode
  readonly path: string
  /** What is wrong, without the path. */
  readonly why: string
}

function problemOf(path: string): Problem | undefined {
  try {
    checkPath(path)
    return undefined
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error
    return { code: error.code, path, why: error.message.slice(error.message.indexOf('": ') + 3) }
  }
}

/** Paths that are one file with another one somewhere, or a file where another one needs a folder. */
function collisions(paths: readonly string[]): Problem[] {
  const files = new Map<string, string>()
  const folders = new Map<string, string>()
  const problems: Problem[] = []
  for (const path of paths) {
    const folded = foldPath(path)
    const other = files.get(folded)
    if (other !== undefined)
      problems.push({ code: 'MAN_PATH_COLLISION', path, why: `the same name as ${quoted(other)} on Windows and macOS` })
    else files.set(folded, path)
    for (let at = folded.lastIndexOf('/'); at > 0; at = folded.lastIndexOf('/', at - 1))
      folders.set(folded.slice(0, at), path)
  }
  for (const [folded, path] of files) {
    const below = folders.get(folded)
    if (below !== undefined)
      problems.push({ code: 'MAN_PATH_COLLISION', path, why: `a folder on Windows and macOS, by ${quoted(below)}` })
  }
  return problems
}

/**
 * Refuses the paths of a tree that some player's system cannot hold, all of them at once, before any work is done.
 *
 * @param folder - The tree, as the publisher gave it.
 * @param paths - Relative, forward slashes.
 * @throws {@link ManifestError} `MAN_PATH`, or `MAN_PATH_COLLISION` when nothing else is wrong.
 */
export function refusePaths(folder: string, paths: readonly string[]): void {
  const own = paths.map(problemOf).filter((problem) => problem !== undefined)
  const problems = [...own, ...collisions(paths)]
  const [first] = problems
  if (first === undefined) return
  const count = problems.length === 1 ? 'a path' : `${problems.length} paths`
  const shown = list(problems.map(({ path, why }) => `${quoted(path)} (${why})`))
  throw new ManifestError(first.code, `Cannot use ${count} of "${printable(folder, 200)}": ${shown}`, {
    details: { folder: printable(folder, 200), path: printable(first.path, 120), count: problems.length },
    hint: 'Rename them in the source folder: every player has to be able to hold them, on Windows, Linux and macOS',
  })
}

/**
 * What a publisher should know about the paths of a release before it is signed: nothing of it is refused.
 *
 * @param paths - Of the new release.
 * @param earlier - The release before; undefined for the first.
 * @returns Sentences, most important first.
 */
export function pathWarnings(paths: readonly string[], earlier: ReleaseManifest | undefined): string[] {
  const warnings: string[] = []
  const long = paths.filter((path) => path.length > WINDOWS_PATH - INSTALL_FOLDER)
  if (long.length > 0)
    warnings.push(
      `Windows programs open paths of ${WINDOWS_PATH} characters, the install folder included; ` +
        `these leave it less than ${INSTALL_FOLDER}: ${list(long.map((path) => `${quoted(path)} (${path.length})`))}`,
    )
  const now = new Set(paths)
  const byFold = new Map(paths.map((path) => [foldPath(path), path]))
  const respelled: string[] = []
  for (const { path } of earlier?.files ?? []) {
    const other = byFold.get(foldPath(path))
    if (other !== undefined && !now.has(path)) respelled.push(`${quoted(path)} to ${quoted(other)}`)
  }
  if (earlier !== undefined && respelled.length > 0)
    warnings.push(
      `These names change only in case or accents since ${earlier.version}; on Windows and macOS each is one file, ` +
        `which launchers rename: ${list(respelled)}`,
    )
  return warnings
}
