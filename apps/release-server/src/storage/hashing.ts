import { createHash } from 'node:crypto'
import { ServerError } from '../errors.ts'
import { MAX_BLOB_BYTES } from '../limits.ts'
import type { ByteStream, PutOptions } from './blob-store.ts'

/**
 * Passes bytes through and throws at the end unless hash and size are as expected. A writer that publishes its file
 *   only
 * after the last part never publishes a wrong one.
 */
export async function* hashed(sha256: string, source: ByteStream, options: PutOptions = {}): ByteStream {
  const most = options.size ?? options.maxBytes ?? MAX_BLOB_BYTES
  const hash = createHash('sha256')
  let size = 0
  for await (const part of source) {
    size += part.length
    if (size > most) throw new ServerError('UP_LENGTH', `Cannot store blob ${sha256}: received more than ${most} bytes`)
    hash.update(part)
    yield part
  }
  if (options.size !== undefined && size !== options.size) {
    throw new ServerError('UP_LENGTH', `Cannot store blob ${sha256}: received ${size} bytes, expected ${options.size}`)
  }
  const found = hash.digest('hex')
  if (found !== sha256) {
    throw new ServerError('UP_HASH', `Cannot store blob ${sha256}: received SHA-256 ${found}`)
  }
}

/** A stream over bytes in memory. */
export async function* streamOf(...parts: Uint8Array[]): ByteStream {
  yield* parts
}
