import { requireMembers } from '@keyturn/primitives'
import type { ManifestFile, ReleaseManifest } from './model.ts'

/** A file of both releases with other bytes. */
export interface ChangedFile {
  readonly path: string
  readonly before: ManifestFile
  readonly after: ManifestFile
}

/** What differs between two releases. */
export interface ManifestDiff {
  readonly added: readonly ManifestFile[]
  readonly removed: readonly ManifestFile[]
  readonly changed: readonly ChangedFile[]
  /** Files with equal bytes. */
  readonly unchangedCount: number
  /** Bytes of the blobs that the first release does not have: the download without chunk indexes. */
  readonly newBlobBytes: number
}

/** Compares two releases by path and hash. */
export function diffManifests(before: ReleaseManifest, after: ReleaseManifest): ManifestDiff {
  requireMembers(before, 'before', ['files'])
  requireMembers(after, 'after', ['files'])
  const old = new Map(before.files.map((file) => [file.path, file]))
  const blobs = new Set(before.files.map(({ sha256 }) => sha256))
  const added: ManifestFile[] = []
  const changed: ChangedFile[] = []
  let newBlobBytes = 0
  for (const file of after.files) {
    const known = old.get(file.path)
    old.delete(file.path)
    if (known === undefined) added.push(file)
    else if (known.sha256 !== file.sha256) changed.push({ path: file.path, before: known, after: file })
    if (!blobs.has(file.sha256)) {
      blobs.add(file.sha256)
      newBlobBytes += file.size
    }
  }
  const unchangedCount = after.files.length - added.length - changed.length
  return { added, removed: [...old.values()], changed, unchangedCount, newBlobBytes }
}
