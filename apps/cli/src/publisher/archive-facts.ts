import { openArchiveFile } from '@keyturn/m2pack-format/node'
import type { TreeFile } from './tree.ts'
import { hashFile } from './tree.ts'

/** A chunk index and what the manifest says about it. */
export interface ArchiveIndex {
  readonly bytes: Uint8Array
  readonly chunks: number
  readonly params: number
}

/** What a release manifest says about an archive. */
export interface ArchiveFacts {
  readonly sha256: string
  readonly keyId: number
  /** For delta downloads; undefined for small archives. */
  readonly index: ArchiveIndex | undefined
}

/**
 * Reads what the release manifest needs to know of an archive. Its signature is not judged here: launchers never open
 * archives, and clients check it themselves.
 *
 * @param file - The archive in the release tree.
 * @param signal - Stops it.
 */
export async function describeArchive(file: TreeFile, signal: AbortSignal): Promise<ArchiveFacts> {
  const { archive, close } = await openArchiveFile(file.source, { verifiers: 'unchecked' })
  try {
    return { sha256: await hashFile(file, signal), keyId: archive.keyId, index: undefined }
  } finally {
    await close()
  }
}
