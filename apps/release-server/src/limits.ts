/** Largest blob that one `PUT` may carry, in bytes. */
export const maxPutBytes = 16 * 1024 * 1024
/** Largest blob at all. */
export const maxBlobBytes = 64 * 1024 * 1024 * 1024
/** Most hashes in one missing-blob query. */
export const maxMissingQuery = 10_000
/** Largest JSON body of a management call. */
export const maxJsonBytes = 12 * 1024 * 1024
/** Largest manifest that is sent inside JSON; larger ones are uploaded as a blob first. */
export const maxInlineManifestBytes = 8 * 1024 * 1024
/** Largest header section of a request. */
export const maxHeaderBytes = 8 * 1024
/** Largest `manifest.json`. */
export const maxManifestBytes = 64 * 1024 * 1024
/** Largest role document. */
export const maxRolesBytes = 64 * 1024
/** Largest key event log. */
export const maxLogBytes = 4 * 1024 * 1024
/** Largest telemetry report. */
export const maxReportBytes = 2 * 1024
/** Most events that are new to the witness in one request: each costs two durable writes. */
export const maxNewEvents = 500
