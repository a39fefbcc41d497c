import { read } from 'node:fs'
import { open } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { systemErrorCode } from '@keyturn/primitives/node'
import { ServerError } from '../errors.ts'
import { STALLED_READER_MS } from './send.ts'

/** Bytes read and sent at a time; also the memory that a stalled reader costs. */
const CHUNK_BYTES = 256 * 1024
/** Buffers kept for the next answers. */
const MAX_SPARE = 64
const spare: Buffer[] = []

function readInto(fd: number, buffer: Buffer, length: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, 0, length, position, (error, count) => (error === null ? resolve(count) : reject(error)))
  })
}

/** Resolves with true once the system has taken the bytes, with false when the reader is gone. */
function send(response: ServerResponse, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const gone = (): void => resolve(false)
    response.once('close', gone)
    response.write(bytes, (error) => {
      response.removeListener('close', gone)
      resolve(error === null || error === undefined)
    })
  })
}

/**
 * Sends a range of a file: the fast way for blobs on this machine. One pooled buffer per answer, filled again only when
 * the system has taken its bytes.
 *
 * @param begin - Called once the file is open; sends the head.
 * @returns False when there is no such file; then nothing was sent.
 */
export async function pumpFile(
  path: string,
  range: { start: number; end: number },
  response: ServerResponse,
  begin: () => void,
): Promise<boolean> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    const code = systemErrorCode(error)
    if (code === 'ENOENT') return undefined
    if (code === 'EMFILE' || code === 'ENFILE')
      throw new ServerError('SRV_UNAVAILABLE', 'Too many files are open', { cause: error })
    throw error
  })
  if (handle === undefined) return false
  const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
  let reusable = true
  try {
    begin()
    response.setTimeout(STALLED_READER_MS, () => response.destroy())
    for (let position = range.start; position <= range.end;) {
      const count = await readInto(handle.fd, buffer, Math.min(CHUNK_BYTES, range.end + 1 - position), position)
      // Shorter than its record says: the connection is cut, so that nobody takes the part for the whole.
      if (count === 0) {
        response.destroy()
        return true
      }
      position += count
      if (!(await send(response, count === CHUNK_BYTES ? buffer : buffer.subarray(0, count)))) {
        reusable = false
        return true
      }
    }
    response.end()
    return true
  } finally {
    // After a broken write the system may still read from the buffer.
    if (reusable && spare.length < MAX_SPARE) spare.push(buffer)
    await handle.close()
  }
}
