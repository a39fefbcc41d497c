/** What a build made. */
export interface BuildResult {
  readonly keyId: number
  readonly files: number
  /** Bytes of plaintext. */
  readonly originalBytes: number
  /** Bytes of all payloads. */
  readonly storedBytes: number
  /** Bytes of the archive. */
  readonly archiveBytes: number
  /** BLAKE2b-256 of the manifest. */
  readonly manifestHash: Uint8Array
  /** Slots that the archive carries. */
  readonly slots: readonly number[]
  /** Files whose stored bytes were taken from the previous archive. */
  readonly carriedFiles: number
  /** Files that stay under an older slot. */
  readonly keptFiles: number
}
