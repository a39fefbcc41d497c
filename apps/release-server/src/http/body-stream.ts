import type { FastifyRequest } from 'fastify'
import { collectBytes } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import type { ByteStream } from '../storage/blob-store.ts'

/** How long a sender may send nothing before it is cut off, in milliseconds. */
export const STALLED_SENDER_MS = 60_000

/**
 * The body of a request as a stream that ends in an error when the sender breaks off, stalls, or sends more or less
 * than it announced.
 */
export async function* bodyStream(request: FastifyRequest, size: number): ByteStream {
  const { raw } = request
  let received = 0
  raw.setTimeout(STALLED_SENDER_MS, () => raw.destroy())
  try {
    for await (const part of raw as AsyncIterable<Buffer>) {
      received += part.length
      if (received > size) throw new ServerError('UP_LENGTH', `Cannot take more than the ${size} bytes announced`)
      yield part
    }
  } catch (error) {
    if (error instanceof ServerError) throw error
    throw new SenderGone(`The sender broke off after ${received} of ${size} bytes`, { cause: error })
  }
  if (received !== size) throw new SenderGone(`The sender ended after ${received} of ${size} bytes`)
}

/** The connection of a sender ended early. It is not an error of the server, and nobody is left to read an answer. */
export class SenderGone extends Error {
  override readonly name = 'SenderGone'
}

/** The `Content-Length` of an upload; chunked bodies without one are refused. */
export function announcedLength(request: FastifyRequest, most: number): number {
  const text = request.headers['content-length']
  if (text === undefined) throw new ServerError('UP_LENGTH_REQUIRED', 'Cannot take an upload without Content-Length')
  const length = Number(text)
  if (length > most)
    throw new ServerError('SRV_LIMIT', `Cannot take ${length} bytes at once: at most ${most}`, {
      hint: 'Use a resumable upload',
    })
  return length
}

/** Reads a whole document that is sent as bytes. */
export async function documentBody(request: FastifyRequest, most: number): Promise<Uint8Array> {
  return collectBytes(
    bodyStream(request, announcedLength(request, most)),
    most,
    (limit) => new ServerError('SRV_LIMIT', `Cannot take more than ${limit} bytes at once`),
  )
}
