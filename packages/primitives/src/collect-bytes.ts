const FIRST_ROOM_BYTES = 8 * 1024

/**
 * Reads a stream into memory and stops as soon as it holds more than it may, whatever length was announced.
 *
 * @param stream - Parts of the bytes: an iterable, or the body of a `Response` (`null` has no bytes). It is cancelled
 * when reading stops early.
 * @param maxBytes - Most bytes that are kept in memory.
 * @param onTooLong - Makes the error for a stream that is longer.
 * @returns A copy that belongs to the caller.
 */
export async function collectBytes(
  stream: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | null | undefined,
  maxBytes: number,
  onTooLong: (maxBytes: number) => Error,
): Promise<Uint8Array<ArrayBuffer>> {
  if (!(maxBytes >= 0)) throw new RangeError(`maxBytes must be a number from 0, got ${maxBytes}`)
  // One growing buffer and not a list of parts: millions of one-byte parts then cost no more than their bytes.
  let room = new Uint8Array(Math.min(FIRST_ROOM_BYTES, maxBytes))
  let length = 0
  for await (const part of partsOf(stream)) {
    const end = length + part.length
    if (end > maxBytes) throw onTooLong(maxBytes)
    if (end > room.length) room = grown(room.subarray(0, length), Math.min(maxBytes, Math.max(end, 2 * room.length)))
    room.set(part, length)
    length = end
  }
  return length === room.length ? room : room.slice(0, length)
}

function grown(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const room = new Uint8Array(size)
  room.set(bytes)
  return room
}

/** Safari has no asynchronous iteration over a `ReadableStream`, so it is read by its reader. */
async function* partsOf(
  stream: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | null | undefined,
): AsyncGenerator<Uint8Array> {
  if (stream === null || stream === undefined) return
  if (!('getReader' in stream)) return yield* stream
  const reader = stream.getReader()
  let ended = false
  try {
    for (;;) {
      const { done, value } = await reader.read()
      ended = done
      if (value === undefined) return
      yield value
    }
  } finally {
    // The first error is the one to report; a stream that cannot be cancelled is garbage all the same.
    if (!ended) await reader.cancel().catch(() => undefined)
    reader.releaseLock()
  }
}
