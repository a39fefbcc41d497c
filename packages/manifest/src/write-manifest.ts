import { compareBytes, requireMembers, utf8Encode } from '@keyturn/primitives'
import { checkManifestContent } from './check-manifest.ts'
import type { Component, ContentKey, IndexReference, LauncherFile, ManifestFile, ReleaseManifest } from './model.ts'
import { DEFAULT_FORMAT } from './parse-manifest.ts'

type Members = Record<string, unknown>

/** Text of a document: 2 spaces, LF, one LF at the end. Members that are undefined are left out. */
export function documentBytes(members: object): Uint8Array<ArrayBuffer> {
  return utf8Encode(`${JSON.stringify(members, null, 2)}\n`)
}

const unless = <Value>(value: Value, fallback: Value): Value | undefined => (value === fallback ? undefined : value)
const filled = <Item>(list: readonly Item[]): Item[] | undefined => (list.length === 0 ? undefined : [...list])

function indexMembers({ sha256, size, chunks, params }: IndexReference): Members {
  return { sha256, size, chunks, params }
}

function fileMembers(file: ManifestFile): Members {
  const members: Members = {
    path: file.path,
    sha256: file.sha256,
    size: file.size,
    platform: unless(file.platform, 'all'),
    required: unless(file.required, true),
    executable: unless(file.executable, false),
    key_id: file.keyId,
    index: file.index && indexMembers(file.index),
    group: file.group,
  }
  return members
}

function launcherMembers({ path, sha256, size, platform }: LauncherFile): Members {
  return { path, sha256, size, platform: unless(platform, 'all') }
}

function contentKeyMembers({ keyId, verifierPub, commitment, status }: ContentKey): Members {
  return { key_id: keyId, verifier_pub: verifierPub, commitment, status }
}

function componentMembers({ name, title, default: chosen }: Component): Members {
  return { name, title, default: unless(chosen, true) }
}

function extensionMembers(manifest: ReleaseManifest): Members {
  const { requires, totals } = manifest
  return {
    schema: 2,
    product: manifest.product,
    channel: manifest.channel,
    epoch: manifest.epoch,
    sequence: manifest.sequence,
    issued_at: manifest.issuedAt,
    expires_at: manifest.expiresAt,
    previous_sha256: manifest.previousSha256,
    roles_version: manifest.rolesVersion,
    critical: filled(manifest.critical),
    content_keys: filled(manifest.contentKeys.map(contentKeyMembers)),
    archive_format: manifest.archiveFormat,
    delete: filled(manifest.delete),
    keep: filled(manifest.keep),
    program: manifest.program,
    components: filled(manifest.components.map(componentMembers)),
    requires: requires && { free_bytes: requires.freeBytes, os: requires.os, arch: requires.arch },
    rollback_of: manifest.rollbackOf,
    totals: totals && { files: totals.files, bytes: totals.bytes, download_bytes: totals.downloadBytes },
    trust_root: manifest.trustRoot,
  }
}

/** Files in the order of the UTF-8 bytes of their paths. */
export function sortFiles(files: readonly ManifestFile[]): ManifestFile[] {
  return files
    .map((file) => ({ file, key: utf8Encode(file.path) }))
    .sort((a, b) => compareBytes(a.key, b.key))
    .map(({ file }) => file)
}

/**
 * Writes a manifest in its canonical form: fixed order of members, files sorted, defaults left out, 2 spaces, LF.
 * The signature covers these literal bytes; nothing ever prints a manifest again.
 *
 * @throws {@link ManifestError} `MAN_PATH`, `MAN_PATH_COLLISION`, `MAN_SCHEMA` for a manifest no reader would take.
 */
export function writeManifest(manifest: ReleaseManifest): Uint8Array<ArrayBuffer> {
  requireMembers(manifest, 'manifest', ['version', 'files'])
  checkManifestContent(manifest)
  return documentBytes({
    format: unless(manifest.format, DEFAULT_FORMAT),
    version: manifest.version,
    created_at: manifest.createdAt,
    previous: manifest.previous,
    notes: manifest.notes,
    min_launcher_version: manifest.minLauncherVersion,
    launcher: manifest.launcher && launcherMembers(manifest.launcher),
    files: sortFiles(manifest.files).map(fileMembers),
    ...(manifest.schema === 2 ? extensionMembers(manifest) : {}),
  })
}
