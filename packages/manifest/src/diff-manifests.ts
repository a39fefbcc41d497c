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

/**
 * The files of a release that one install has: those of its platform, and of the groups those that were chosen.
 *
 * @param manifest - The release.
 * @param platform - The explicit target, never guessed from the host: a Windows client runs under wine too.
 * @param groups - Chosen groups; files without a group always belong. Default: nobody chose, and an install has every
 *   group but those whose component says `default: false`.
 */
export function filesFor(
  { files, components }: Pick<ReleaseManifest, 'files' | 'components'>,
  platform: string,
  groups?: readonly string[],
): ManifestFile[] {
  const left = new Set(components.filter((component) => !component.default).map(({ name }) => name))
  const chosen = groups === undefined ? undefined : new Set(groups)
  const hasGroup = (group: string): boolean => (chosen === undefined ? !left.has(group) : chosen.has(group))
  return files.filter(
    ({ platform: wanted, group }) =>
      (wanted === 'all' || wanted === platform) && (group === undefined || hasGroup(group)),
  )
}
