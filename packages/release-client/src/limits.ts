const MIB = 1024 * 1024

/**
 * Limits of the management API that both sides keep: the server refuses what is larger, the client sends it another
 * way.
 */
export const API_LIMITS = {
  /** Largest blob that one `PUT` may carry, in bytes; larger ones go through resumable uploads. */
  maxPutBytes: 16 * MIB,
  /** Largest blob of any kind. */
  maxBlobBytes: 64 * 1024 * MIB,
  /** Most hashes in one query for missing blobs. */
  maxMissingQuery: 10_000,
  /** Most pieces that a blob is assembled of: three numbers each in one request. */
  maxAssemblyPieces: 10_000,
  /** Most blobs that the pieces of one blob are taken from. */
  maxAssemblySources: 64,
  /** Largest manifest that is sent inside JSON; larger ones are uploaded as a blob first. */
  maxInlineManifestBytes: 8 * MIB,
  /** Largest `manifest.json`. */
  maxManifestBytes: 64 * MIB,
} as const
