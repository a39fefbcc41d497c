import { createHash } from 'node:crypto'
import type { ManifestFile } from '@keyturn/manifest'
import { placeInside, readSmallFile } from './disk/disk.ts'
import { LauncherError } from './errors.ts'
import type { Session } from './session.ts'

/** Larger files are not for memory. */
const MAX_BYTES = 64 * 1024 * 1024

/**
 * Reads a file of the installed release and compares these very bytes with the manifest.
 *
 * @throws LauncherError `LA_HASH`, `LA_SIZE`.
 */
export async function readVerified(session: Session, { path, sha256, size }: ManifestFile): Promise<Uint8Array> {
  if (size > MAX_BYTES) throw new LauncherError('LA_SIZE', `Cannot read "${path}": ${size} bytes are over ${MAX_BYTES}`)
  const bytes = await readSmallFile(session.options.fs, placeInside(session.layout.root, path), size)
  if (bytes !== undefined && createHash('sha256').update(bytes).digest('hex') === sha256) return bytes
  throw new LauncherError('LA_HASH', `Cannot read "${path}": it is missing or changed`, { details: { path } })
}
