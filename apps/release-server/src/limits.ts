import { API_LIMITS } from '@keyturn/release-client'

export const { maxPutBytes, maxBlobBytes, maxMissingQuery, maxManifestBytes } = API_LIMITS

/** Largest JSON body of a management call. */
export const maxJsonBytes = 12 * 1024 * 1024
/** Largest header section of a request. */
export const maxHeaderBytes = 8 * 1024
/** Largest role document. */
export const maxRolesBytes = 64 * 1024
/** Largest key event log. */
export const maxLogBytes = 4 * 1024 * 1024
/** Largest telemetry report. */
export const maxReportBytes = 2 * 1024
/** Most events that are new to the witness in one request: each costs two durable writes. */
export const maxNewEvents = 500
