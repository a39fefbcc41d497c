import { KeyturnError, PrimitivesError, printable } from '../errors.ts'
import { systemErrorCode } from './file-system.ts'

const DISK_FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/**
 * Runs one call to the disk and gives its failure a name: `PRIM_DISK_FULL`, `PRIM_EXISTS` or `PRIM_FILE`, with the
 * system's error as the cause and its code in `details.errno`. An error that already has one of our codes is rethrown
 * unchanged.
 *
 * @param what - The start of the message: `Cannot write "…"`.
 */
export async function onDisk<T>(what: string, path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const errno = systemErrorCode(cause)
    if (errno === undefined || cause instanceof KeyturnError) throw cause
    const place = `${what} "${printable(path)}"`
    const message = `${place}: ${errno}`
    const context = { details: { path, errno }, cause }
    if (DISK_FULL.has(errno)) throw new PrimitivesError('PRIM_DISK_FULL', message, context)
    if (errno === 'EEXIST') throw new PrimitivesError('PRIM_EXISTS', `${place}: it exists already`, context)
    throw new PrimitivesError('PRIM_FILE', message, context)
  }
}
