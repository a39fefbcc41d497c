import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { legacyJsonBlob } from './formats/legacy-json-blob.ts'
import { m2pack } from './formats/m2pack.ts'
import type { ReleaseFormat } from './formats/release-format.ts'
import type { ReleaseManifest } from './model.ts'

/** Formats by name. */
export type FormatRegistry = ReadonlyMap<string, ReleaseFormat>

/** The formats of this package: `legacy-json-blob` and `m2pack`. */
export const releaseFormats: FormatRegistry = new Map([legacyJsonBlob, m2pack].map((format) => [format.name, format]))

/**
 * Finds the format of a manifest.
 *
 * @throws {@link ManifestError} `MAN_UNKNOWN_FORMAT`: a forged downgrade by name must not work, so nothing is guessed.
 */
export function formatOf(manifest: ReleaseManifest, formats: FormatRegistry = releaseFormats): ReleaseFormat {
  const format = formats.get(manifest.format)
  if (format !== undefined) return format
  throw new ManifestError(
    'MAN_UNKNOWN_FORMAT',
    `Cannot use manifest: format "${printable(manifest.format, 64)}" is unknown`,
  )
}
