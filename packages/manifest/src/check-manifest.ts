import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { limits } from './limits.ts'
import type { ManifestFile, ManifestTotals, ReleaseManifest } from './model.ts'
import { checkPath, PathSet } from './paths.ts'
import { parseTime } from './time.ts'

function refuse(message: string): never {
  throw new ManifestError('MAN_SCHEMA', `Cannot use manifest: ${message}`)
}

/**
 * The sums that a manifest states about its files. A blob that several files share is downloaded once.
 *
 * @throws {@link ManifestError} `MAN_SCHEMA` when one hash stands with two sizes.
 */
export function manifestTotals(files: readonly ManifestFile[]): ManifestTotals {
  const sizes = new Map<string, number>()
  let bytes = 0
  let downloadBytes = 0
  for (const { path, sha256, size } of files) {
    const known = sizes.get(sha256)
    if (known === undefined) {
      sizes.set(sha256, size)
      downloadBytes += size
    } else if (known !== size) {
      refuse(`"${printable(path, 120)}" has ${size} bytes, another file of the same hash has ${known}`)
    }
    bytes += size
  }
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
    if (stated[name] !== sums[name]) refuse(`totals state ${stated[name]} for ${name}, the files add up to ${sums[name]}`)
  }
}

function checkContentKeys({ contentKeys, files, schema }: ReleaseManifest): void {
  const ids = new Set(contentKeys.map(({ keyId }) => keyId))
  if (ids.size !== contentKeys.length) refuse('content_keys lists a key_id twice')
  if (schema === 1) return
  for (const { path, keyId } of files) {
    if (keyId !== undefined && !ids.has(keyId)) refuse(`"${printable(path, 120)}" is under key_id ${keyId}, which content_keys does not list`)
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
  checkTotals(manifest)
}
