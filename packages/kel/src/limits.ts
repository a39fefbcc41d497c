/** Largest event body, bytes. */
export const MAX_EVENT_BYTES = 256 * 1024

/** Largest attachment text after one event, bytes. */
export const MAX_ATTACHMENT_BYTES = 256 * 1024

/** Largest log that {@link verifyLog} takes by default, bytes. */
export const MAX_LOG_BYTES = 4 * 1024 * 1024

/**
 * Most signatures over short events that {@link verifyLog} verifies in a log of up to 4 MiB; for callers who take
 * longer logs, one for every {@link BYTES_PER_SIGNATURE} bytes.
 */
export const MAX_LOG_SIGNATURES = 16_384

/** Bytes of a log, of those that it may have at most, for each signature in it. */
export const BYTES_PER_SIGNATURE = MAX_LOG_BYTES / MAX_LOG_SIGNATURES

/** Most keys, next digests or witnesses in one event. */
export const MAX_KEYS = 256

/** Most seals in one event. */
export const MAX_SEALS = 1024

/** Deepest nesting inside a seal. */
export const MAX_SEAL_DEPTH = 16

/** Most different signatures that are tried for one key of one message: each costs a verification. */
export const MAX_SIGNATURES_PER_KEY = 2

/** Most signatures of one message that may fail; a message with more is refused. */
export const MAX_FAILED_SIGNATURES = 4

/** Most events that wait in escrow. */
export const MAX_ESCROW_EVENTS = 1000

/** Most bytes that wait in escrow. */
export const MAX_ESCROW_BYTES = 4 * 1024 * 1024

/** How long an event waits in escrow, milliseconds: one hour, the longest that keripy waits. */
export const MAX_ESCROW_AGE_MS = 60 * 60 * 1000

/** Most events that are not known yet for which receipts are kept. */
export const MAX_EARLY_RECEIPTS = 1000

/** Most bytes of receipts that are kept for events that are not known yet. */
export const MAX_EARLY_RECEIPT_BYTES = 1024 * 1024

/** Most proofs of duplicity that are kept for one identity. */
export const MAX_DUPLICITY_PROOFS = 32

/** Most messages of one stream that cannot even be read; the rest of the stream is then left alone. */
export const MAX_UNREADABLE_MESSAGES = 1000
