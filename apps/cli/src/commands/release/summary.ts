import type { JsonValue } from '@keyturn/primitives'
import type { StoredRelease } from '@keyturn/publisher/records'

/** What a program wants to know of a release. */
export function summary({ manifest, sha256, bytes, signatures, tree }: StoredRelease): { [key: string]: JsonValue } {
  const { version, sequence, format, createdAt, expiresAt, rolesVersion, totals } = manifest
  return {
    version,
    sequence: sequence ?? 0,
    format,
    created_at: createdAt,
    expires_at: expiresAt ?? '',
    roles_version: rolesVersion ?? 0,
    manifest_sha256: sha256,
    manifest_bytes: bytes.length,
    files: manifest.files.length,
    bytes: totals?.bytes ?? 0,
    signed: signatures !== undefined,
    tree,
  }
}
