import { ServerError } from './errors.ts'

/**
 * Reads an answer chunk by chunk and ends it once it holds more than it may, whatever length it told.
 *
 * @throws ServerError `SRV_NETWORK`.
 */
export async function readBounded(
  response: Response,
  maxBytes: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = []
  let length = 0
  const reader = response.body?.getReader()
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    length += part.value.length
    if (length > maxBytes) {
      await reader?.cancel().catch(() => undefined)
      throw new ServerError('SRV_NETWORK', `Cannot ${what}: the answer is over ${maxBytes} bytes`)
    }
    parts.push(part.value)
  }
  const bytes = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
