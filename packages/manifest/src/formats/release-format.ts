import type { ReleaseManifest } from '../model.ts'

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
   * @throws ManifestError
   */
  check(manifest: ReleaseManifest): void
}
