/** Largest event body, bytes. */
export const MAX_EVENT_BYTES = 256 * 1024

/** Largest attachment text behind one event, bytes. */
export const MAX_ATTACHMENT_BYTES = 256 * 1024

/** Largest log that {@link verifyLog} takes by default, bytes. */
export const MAX_LOG_BYTES = 4 * 1024 * 1024

/** Most keys, next digests or witnesses in one event. */
export const MAX_KEYS = 256

/** Most seals in one event. */
export const MAX_SEALS = 1024

/** Deepest nesting inside a seal. */
export const MAX_SEAL_DEPTH = 16

/** Most events that wait in escrow. */
export const MAX_ESCROW_EVENTS = 1000

/** Most bytes that wait in escrow. */
export const MAX_ESCROW_BYTES = 4 * 1024 * 1024
