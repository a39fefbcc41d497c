import { KeyturnError, PrimitivesError, printable } from '../errors.ts'
import { systemErrorCode } from './file-system.ts'

const diskFull = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/**
 * Runs one call to the disk and gives its failure a name: `PRIM_DISK_FULL`, `PRIM_EXISTS` or `PRIM_FILE`, with the
 * system's error as the cause and its code in `details.errno`. An error that has a name already passes as it is.
 *
 * @param what - Begins the message: `Cannot write "…"`.
 */
export async function onDisk<T>(what: string, path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const errno = systemErrorCode(cause)
    if (errno === undefined || cause instanceof KeyturnError) throw cause
    const message = `${what} "${printable(path)}": ${errno}`
    const context = { details: { path, errno }, cause }
    if (diskFull.has(errno)) throw new PrimitivesError('PRIM_DISK_FULL', message, context)
    if (errno === 'EEXIST') throw new PrimitivesError('PRIM_EXISTS', message, context)
    throw new PrimitivesError('PRIM_FILE', message, context)
  }
}
