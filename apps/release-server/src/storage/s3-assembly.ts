import type { Piece } from './blob-store.ts'

/** One part of a multipart upload: a range that the storage copies, or bytes that go through this process. */
export type PlannedPart = { readonly copy: Piece } | { readonly send: readonly Piece[] }

/** Least size of each part but the last, everywhere but at some that take less. */
export const LEAST_PART_BYTES = 5 * 1024 * 1024
/** Most bytes of a part that is sent; they are in memory. */
export const READ_PART_BYTES = 2 * LEAST_PART_BYTES + 10_000
const MAX_COPY_BYTES = 1024 * 1024 * 1024
const MAX_PARTS = 10_000

/**
 * Plans the parts of an object that is made of pieces of others: runs of 5 MiB and more are copied by the storage, what
 * is between them is sent. What is between and too small for a part takes bytes from the run after it.
 *
 * @returns Undefined when nothing can be copied, or there are more parts than an upload takes.
 */
export function planParts(pieces: readonly Piece[]): PlannedPart[] | undefined {
  const parts: PlannedPart[] = []
  let open: Piece[] = []
  let openBytes = 0
  const add = (piece: Piece): void => {
    if (piece.length === 0) return
    open.push(piece)
    openBytes += piece.length
  }
  for (const run of runsOf(pieces)) {
    const borrowed = openBytes === 0 ? 0 : Math.max(0, LEAST_PART_BYTES - openBytes)
    if (run.length - borrowed < LEAST_PART_BYTES) {
      add(run)
      continue
    }
    add({ ...run, length: borrowed })
    parts.push(...sent(open, openBytes))
    ;[open, openBytes] = [[], 0]
    parts.push(...copied({ ...run, start: run.start + borrowed, length: run.length - borrowed }))
  }
  parts.push(...sent(open, openBytes))
  return parts.length <= MAX_PARTS && parts.some((part) => 'copy' in part) ? parts : undefined
}

/** Pieces that follow each other in their blob as one. */
function runsOf(pieces: readonly Piece[]): Piece[] {
  const runs: Piece[] = []
  for (const piece of pieces) {
    const last = runs.at(-1)
    if (last !== undefined && last.sha256 === piece.sha256 && last.start + last.length === piece.start)
      runs[runs.length - 1] = { ...last, length: last.length + piece.length }
    else runs.push(piece)
  }
  return runs
}

function* copied({ sha256, start, length }: Piece): Generator<PlannedPart> {
  let [at, left] = [start, length]
  for (; left > 2 * MAX_COPY_BYTES; at += MAX_COPY_BYTES, left -= MAX_COPY_BYTES)
    yield { copy: { sha256, start: at, length: MAX_COPY_BYTES } }
  yield { copy: { sha256, start: at, length: left } }
}

/** Cuts what is sent into parts that are neither too small nor too large for memory. */
function* sent(pieces: readonly Piece[], bytes: number): Generator<PlannedPart> {
  if (bytes === 0) return
  const count = Math.max(1, Math.floor(bytes / LEAST_PART_BYTES))
  const each = Math.floor(bytes / count)
  let part: Piece[] = []
  let [room, made] = [count === 1 ? bytes : each, 0]
  for (const piece of pieces) {
    for (let [start, left] = [piece.start, piece.length]; left > 0;) {
      const length = Math.min(left, room)
      part.push({ sha256: piece.sha256, start, length })
      ;[start, left, room] = [start + length, left - length, room - length]
      if (room > 0) continue
      yield { send: part }
      ;[part, made] = [[], made + 1]
      room = made === count - 1 ? bytes - each * (count - 1) : each
    }
  }
  if (part.length > 0) yield { send: part }
}
