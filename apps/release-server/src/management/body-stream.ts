import type { FastifyRequest } from 'fastify'
import { ServerError } from '../errors.ts'
import type { ByteStream } from '../storage/blob-store.ts'

/** After how long without a byte a sender is given up, in milliseconds. */
export const stalledSenderMs = 60_000

/**
 * The body of a request as a stream that ends in an error when the sender breaks off, stalls, or sends more or less
 * than it announced.
 */
export async function* bodyStream(request: FastifyRequest, size: number): ByteStream {
  const raw = request.raw
  let came = 0
  raw.setTimeout(stalledSenderMs, () => raw.destroy())
  try {
    for await (const part of raw as AsyncIterable<Buffer>) {
      came += part.length
      if (came > size) throw new ServerError('UP_LENGTH', `Cannot take more than the ${size} bytes announced`)
      yield part
    }
  } catch (error) {
    if (error instanceof ServerError) throw error
    throw new SenderGone(`The sender broke off after ${came} of ${size} bytes`, { cause: error })
  }
  if (came !== size) throw new SenderGone(`The sender ended after ${came} of ${size} bytes`)
}

/** The connection of a sender ended early. Not an error of the server; nobody is there to read an answer. */
export class SenderGone extends Error {
  override readonly name = 'SenderGone'
}
