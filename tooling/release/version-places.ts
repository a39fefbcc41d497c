import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, root } from '../checks/workspace.ts'

/** A place outside the manifests that names the version of a package. */
interface VersionPlace {
  readonly file: string
  /** The package whose version it is. */
  readonly name: string
  /** Matches what is before the version, the version, and what is after it. */
  readonly pattern: RegExp
}

const SERVER = '@keyturn/release-server'
const CLI = '@keyturn/cli'
const CI = 'docs/guides/ci.md'

/** Every such place: a cut of versions rewrites them, and a test compares them with the manifests. */
export const VERSION_PLACES: readonly VersionPlace[] = [
  { file: 'docs/operations/deploy.md', name: SERVER, pattern: /(keyturn-server_)(\d+\.\d+\.\d+)(_amd64\.deb)/g },
  {
    file: 'docs/operations/files/Containerfile',
    name: SERVER,
    pattern: /(org\.opencontainers\.image\.version=")(\d+\.\d+\.\d+)(")/g,
  },
  { file: CI, name: CLI, pattern: /(your-org\/keyturn\/.*# v)(\d+\.\d+\.\d+)($)/gm },
  { file: CI, name: CLI, pattern: /(^ +version: )(\d+\.\d+\.\d+)($)/gm },
  { file: CI, name: CLI, pattern: /(@keyturn\/cli@)(\d+\.\d+\.\d+)(\b)/g },
]

/** A text with a version in the place of the one it names. @throws Error if it names none. */
export function withVersion(text: string, { file, pattern }: VersionPlace, version: string): string {
  if (text.search(pattern) === -1) throw new Error(`${file} names no version where one is expected: ${pattern}`)
  return text.replace(pattern, (_whole, before: string, _old, after: string) => `${before}${version}${after}`)
}

/** Writes the versions of the manifests to every place that names one. */
export function writeVersionPlaces(): void {
  const versions = new Map(members().map(({ manifest }) => [manifest.name, manifest.version]))
  for (const place of VERSION_PLACES) {
    const path = join(root, place.file)
    const text = readFileSync(path, 'utf8')
    const changed = withVersion(text, place, versions.get(place.name) as string)
    if (changed !== text) writeFileSync(path, changed)
  }
}
