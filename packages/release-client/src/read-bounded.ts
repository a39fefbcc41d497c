import { collectBytes } from '@keyturn/primitives'
import { ServerError } from './errors.ts'

/**
 * Reads an answer and cancels it once it holds more than it may, whatever length was announced.
 *
 * @throws ServerError `SRV_NETWORK`.
 */
export async function readBounded(
  response: Response,
  maxBytes: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  return await collectBytes(
    response.body,
    maxBytes,
    () => new ServerError('SRV_NETWORK', `Cannot ${what}: the answer is over ${maxBytes} bytes`),
  )
}
