/** Versions of the format: docs/spec/m2pack.md and m2pack-v2.md. */
export type FormatVersion = 1 | 2

/** Every version that is read and written. */
export const FORMAT_VERSIONS: readonly FormatVersion[] = [1, 2]

/** What a writer takes when nothing is said. */
export const DEFAULT_FORMAT_VERSION: FormatVersion = 1

/** Whether a number from a file is a version that is known. */
export function isFormatVersion(value: number): value is FormatVersion {
  return value === 1 || value === 2
}
