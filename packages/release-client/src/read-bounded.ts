import { collectBytes } from '@keyturn/primitives'
import { ServerError } from './errors.ts'

/**
 * Reads an answer chunk by chunk and stops once it is longer than it may be, whatever length was announced.
 *
 * @throws ServerError `SRV_NETWORK`.
 */
export function readBounded(response: Response, maxBytes: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
  return collectBytes(
    response.body,
    maxBytes,
    (limit) => new ServerError('SRV_NETWORK', `Cannot ${what}: the answer is longer than ${limit} bytes`),
  )
}
