import { allFilesFor, filesFor } from '@keyturn/manifest'
import type { ManifestFile, ReleaseManifest } from '@keyturn/manifest'
import type { ResolvedOptions } from '../options.ts'

/** The files of a release that belong on this machine: those of its platform and of the chosen components. */
export function wantedFiles(
  manifest: Pick<ReleaseManifest, 'files' | 'components'>,
  { target, groups, components }: Pick<ResolvedOptions, 'target' | 'groups' | 'components'>,
): ManifestFile[] {
  return filesFor(manifest, target, groups ?? components)
}

/**
 * The files of an installed release that may be here. Those of components that were left out count too: one that was
 * chosen before is removed, and one that was never here is not found.
 */
export function possibleFiles(
  manifest: Pick<ReleaseManifest, 'files' | 'components'>,
  wanted: readonly ManifestFile[],
  { target }: Pick<ResolvedOptions, 'target'>,
): readonly ManifestFile[] {
  const all = allFilesFor(manifest, target)
  return all.length === wanted.length ? wanted : all
}
