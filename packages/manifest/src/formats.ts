import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { legacyJsonBlob } from './formats/legacy-json-blob.ts'
import { m2pack } from './formats/m2pack.ts'
import type { ReleaseManifest } from './model.ts'

/** How the client of a release gets the key to its archives. */
export type RuntimeKeyNeed = 'none' | 'required'

/** What a launcher has to know about a release format. Adding one is adding a file. */
export interface ReleaseFormat {
  /** Value of the manifest's `format`. */
  readonly name: string
  /** Whether the client needs a runtime key, from `runtime-key.json` or over Noise. */
  readonly runtimeKey: RuntimeKeyNeed
  /** File that carries the runtime key when it is shipped with the release. */
  readonly runtimeKeyPath?: string
  /** Whether a file is opaque to the launcher: never opened, only hashed. */
  isOpaque(path: string): boolean
  /**
   * Checks what the format demands of a manifest beyond the common rules.
   *
   * @throws {@link ManifestError}
   */
  check(manifest: ReleaseManifest): void
}

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
