import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { limits } from './limits.ts'
import type { ManifestFile, ManifestTotals, ReleaseManifest } from './model.ts'
import { checkPath, PathSet } from './paths.ts'
import { parseTime } from './time.ts'

function refuse(message: string): never {
  throw new ManifestError('MAN_SCHEMA', `Cannot use manifest: ${message}`)
}

const MAX_PROBES = 64

/**
 * First file with each hash, found by the hash's own digits: honest ones are spread evenly already. Where somebody
 * chose them to pile up, a map takes over.
 */
class FilesByHash {
  readonly #files: readonly ManifestFile[]
  readonly #mask: number
  readonly #slots: Int32Array
  #map: Map<string, ManifestFile> | undefined

  constructor(files: readonly ManifestFile[]) {
    this.#files = files
    this.#mask = 2 ** Math.ceil(Math.log2(files.length * 2 + 2)) - 1
    this.#slots = new Int32Array(this.#mask + 1)
  }

  /** The first file with the hash of this one, which is added when it is the first. */
  firstLike(index: number): ManifestFile {
    const file = this.#files[index] as ManifestFile
    if (this.#map !== undefined) return this.#fromMap(this.#map, file)
    let slot = Number.parseInt(file.sha256.slice(0, 7), 16) & this.#mask
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const taken = this.#slots[slot] as number
      if (taken === 0) {
        this.#slots[slot] = index + 1
        return file
      }
      const other = this.#files[taken - 1] as ManifestFile
      if (other.sha256 === file.sha256) return other
      slot = (slot + 1) & this.#mask
    }
    this.#map = new Map(
      this.#files
        .slice(0, index)
        .toReversed()
        .map((earlier) => [earlier.sha256, earlier]),
    )
    return this.#fromMap(this.#map, file)
  }

  #fromMap(map: Map<string, ManifestFile>, file: ManifestFile): ManifestFile {
    const known = map.get(file.sha256)
    if (known === undefined) map.set(file.sha256, file)
    return known ?? file
  }
}

/**
 * The sums that a manifest states about its files. A blob that several files share is downloaded once.
 *
 * @throws {@link ManifestError} `MAN_SCHEMA` when one hash stands with two sizes.
 */
export function manifestTotals(files: readonly ManifestFile[]): ManifestTotals {
  const byHash = new FilesByHash(files)
  let bytes = 0
  let downloadBytes = 0
  files.forEach((file, index) => {
    const first = byHash.firstLike(index)
    if (first === file) {
      downloadBytes += file.size
    } else if (first.size !== file.size) {
      refuse(`"${printable(file.path, 120)}" has ${file.size} bytes, another file of the same hash has ${first.size}`)
    }
    bytes += file.size
  })
  if (bytes > Number.MAX_SAFE_INTEGER) refuse('the files add up to more than 2^53 bytes')
  return { files: files.length, bytes, downloadBytes }
}

function checkPaths(manifest: ReleaseManifest): void {
  const paths = new PathSet()
  for (const { path } of manifest.files) {
    checkPath(path)
    paths.add(path)
  }
  if (manifest.launcher !== undefined) {
    checkPath(manifest.launcher.path)
    if (paths.has(manifest.launcher.path)) {
      throw new ManifestError('MAN_PATH_COLLISION', 'Cannot use manifest: the launcher is listed among the files too')
    }
  }
  for (const path of manifest.delete) {
    checkPath(path)
    if (paths.has(path)) refuse(`"${printable(path, 120)}" is to be deleted and installed at once`)
  }
}

function checkTotals(manifest: ReleaseManifest): void {
  const sums = manifestTotals(manifest.files)
  const stated = manifest.totals
  if (stated === undefined) return
  for (const name of ['files', 'bytes', 'downloadBytes'] as const) {
    if (stated[name] !== sums[name])
      refuse(`totals state ${stated[name]} for ${name}, the files add up to ${sums[name]}`)
  }
}

function checkContentKeys({ contentKeys, files, schema }: ReleaseManifest): void {
  const ids = new Set(contentKeys.map(({ keyId }) => keyId))
  if (ids.size !== contentKeys.length) refuse('content_keys lists a key_id twice')
  if (schema === 1) return
  for (const { path, keyId } of files) {
    if (keyId !== undefined && !ids.has(keyId))
      refuse(`"${printable(path, 120)}" is under key_id ${keyId}, which content_keys does not list`)
  }
}

/**
 * Every group is a listed component, once `components` lists any; a reader that shows a choice then knows all of it.
 */
function checkComponents({ components, files }: ReleaseManifest): void {
  if (components.length === 0) return
  const names = new Set(components.map(({ name }) => name))
  if (names.size !== components.length) refuse('components lists a name twice')
  for (const { path, group } of files) {
    if (group !== undefined && !names.has(group))
      refuse(`"${printable(path, 120)}" is in group "${group}", which components does not list`)
  }
}

/** A program is a file that every install of its platform has. */
function checkProgram({ program, files }: ReleaseManifest): void {
  if (program === undefined) return
  const byPath = new Map(files.map((file) => [file.path, file]))
  for (const [platform, path] of Object.entries(program)) {
    const file = byPath.get(path)
    if (file === undefined) refuse(`program "${printable(path, 120)}" of ${platform} is not one of the files`)
    if (file.platform !== 'all' && file.platform !== platform)
      refuse(`program "${printable(path, 120)}" of ${platform} is a file for ${file.platform}`)
    if (file.group !== undefined)
      refuse(
        `program "${printable(path, 120)}" of ${platform} is in group "${file.group}", which players may leave out`,
      )
  }
}

function checkValidity({ issuedAt, expiresAt }: ReleaseManifest): void {
  if (issuedAt === undefined || expiresAt === undefined) return
  const [issued, expires] = [parseTime(issuedAt), parseTime(expiresAt)] as [number, number]
  if (expires <= issued) refuse('expires_at is not after issued_at')
  if (expires - issued > limits.manifestValidityMs) refuse('it is valid for more than 400 days')
}

/**
 * Checks what the fields of a manifest owe each other: paths, collisions, sums, key ids, validity.
 *
 * @throws {@link ManifestError} `MAN_PATH`, `MAN_PATH_COLLISION`, `MAN_SCHEMA`.
 */
export function checkManifestContent(manifest: ReleaseManifest): void {
  checkValidity(manifest)
  checkPaths(manifest)
  checkContentKeys(manifest)
  checkComponents(manifest)
  checkProgram(manifest)
  checkTotals(manifest)
}
