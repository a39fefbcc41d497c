import { filesFor } from '@keyturn/manifest'
import type { ManifestFile, ReleaseManifest } from '@keyturn/manifest'
import type { ResolvedOptions } from '../options.ts'

/** The files of a release that belong on this machine: those of its platform and of the chosen components. */
export function wantedFiles(
  manifest: Pick<ReleaseManifest, 'files' | 'components'>,
  { target, groups }: Pick<ResolvedOptions, 'target' | 'groups'>,
): ManifestFile[] {
  return filesFor(manifest, target, groups)
}
