import { API_LIMITS } from '@keyturn/release-client'

export const {
  maxPutBytes: MAX_PUT_BYTES,
  maxBlobBytes: MAX_BLOB_BYTES,
  maxMissingQuery: MAX_MISSING_QUERY,
  maxAssemblyPieces: MAX_ASSEMBLY_PIECES,
  maxAssemblySources: MAX_ASSEMBLY_SOURCES,
  maxManifestBytes: MAX_MANIFEST_BYTES,
} = API_LIMITS

/** Largest JSON body of a management call. */
export const MAX_JSON_BYTES = 12 * 1024 * 1024
/** Largest JSON body of a call without a scope, unless its route says otherwise. */
export const MAX_ANONYMOUS_BYTES = 8 * 1024
/** Largest header section of a request. */
export const MAX_HEADER_BYTES = 8 * 1024
/** Largest role document. */
export const MAX_ROLES_BYTES = 64 * 1024
/** Largest key event log. */
export const MAX_LOG_BYTES = 4 * 1024 * 1024
/** Largest log that the witness takes from anybody who asks: thousands of events, verified within a second or two. */
export const MAX_WITNESSED_LOG_BYTES = 1024 * 1024
/** Largest telemetry report. */
export const MAX_REPORT_BYTES = 2 * 1024
/** Longest log that the witness takes of an identity which is neither a product's nor an attester here. */
export const MAX_STRANGER_LOG_BYTES = 64 * 1024
/** Most events that are new to the witness in one request: each costs two durable writes. */
export const MAX_NEW_EVENTS = 500

/** Most blobs that one call frees: a publish leaves one behind. */
export const MAX_FREED = 64
