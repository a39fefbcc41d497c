import { filesFor } from '@keyturn/manifest'
import type { ManifestFile, ReleaseManifest } from '@keyturn/manifest'
import type { ResolvedOptions } from './options.ts'

/** The files of a release that belong on this machine: its platform, and the content groups that were chosen, by default all. */
export function wantedFiles(
  manifest: Pick<ReleaseManifest, 'files'>,
  { target, groups }: Pick<ResolvedOptions, 'target' | 'groups'>,
): ManifestFile[] {
  const chosen = groups ?? new Set(manifest.files.flatMap(({ group }) => group ?? []))
  return filesFor(manifest as ReleaseManifest, target, [...chosen])
}
