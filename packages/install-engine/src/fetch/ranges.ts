import type { Chunk } from './part-file.ts'

/** Neighbours closer than this are fetched in one request; docs/spec/launcher.md §5. */
export const MAX_GAP_BYTES = 32 * 1024
/** Longest request. */
export const MAX_REQUEST_BYTES = 8 * 1024 * 1024

/** One request for a part of a file: the pieces `first` to `last`, of which some may be there already. */
export interface RangeRequest {
  readonly first: number
  readonly last: number
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

/** Groups missing pieces into requests. `missing` is ascending. */
export function planRanges(
  chunks: readonly Chunk[],
  missing: readonly number[],
  longest = MAX_REQUEST_BYTES,
): RangeRequest[] {
  const requests: RangeRequest[] = []
  let open: RangeRequest | undefined
  for (const index of missing) {
    const chunk = chunks[index] as Chunk
    const end = chunk.offset + chunk.length
    if (open !== undefined && chunk.offset - open.end <= MAX_GAP_BYTES && end - open.start <= longest) {
      open = { ...open, last: index, end }
      continue
    }
    if (open !== undefined) requests.push(open)
    open = { first: index, last: index, start: chunk.offset, end }
  }
  if (open !== undefined) requests.push(open)
  return requests
}
