import { M2pError } from './errors.ts'

/** The error of a zstd that cannot be loaded. */
export function zstdUnavailable(reason: string, hint: string, cause?: unknown): M2pError {
  return new M2pError('M2P_ZSTD_UNAVAILABLE', `Cannot load zstd: ${reason}`, { hint, cause })
}

/** What a thrown value says. */
export const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
