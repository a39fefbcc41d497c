/** Largest secret of a keystore. */
export const MAX_SECRET_BYTES = 1024 * 1024
/** Largest keystore file a reader takes. */
export const MAX_KEYSTORE_BYTES = 64 * 1024 * 1024
/** Largest header of a keystore file. */
export const MAX_HEADER_BYTES = 4 * 1024 * 1024
/** Secrets one keystore holds. */
export const MAX_ENTRIES = 10_000
