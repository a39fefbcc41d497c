import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { openArchive } from '@keyturn/m2pack-format'
import { concatBytes, hexDecode } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { ServerFiles } from './server-files.ts'
import type { StoredRelease } from '../records/store.ts'

/** A folder in place of the release tree before, which has to be removed. */
export interface FetchedTables {
  readonly folder: string
  /** Bytes of archives that were read. */
  readonly bytes: number
  remove(): Promise<void>
}

/**
 * Fetches header and entry table of each archive of a release, by byte range and compared with the signed manifest: all
 * that a writer needs for unchanged files to keep slot and ciphertext. Small archives come whole.
 *
 * @param home - Open home; its archive signing keys must have signed the tables.
 * @param client - The server that has the release.
 * @param release - Verified before.
 * @param signal - Stops it.
 * @throws {@link PublisherError} `REL_SERVER_FILE`; those of the archive format.
 */
export async function fetchTables(
  home: HomeSession,
  client: ReleaseServerClient,
  { manifest }: StoredRelease,
  signal: AbortSignal,
): Promise<FetchedTables> {
  const files = new ServerFiles(client, home.description.product)
  await mkdir(home.paths.trees, { recursive: true })
  const folder = await mkdtemp(join(home.paths.trees, '.tables-'))
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true })
  let read = 0
  try {
    for (const file of manifest.files) {
      if (file.keyId === undefined) continue
      signal.throwIfAborted()
      const index = await files.index(file)
      const bytes =
        index === undefined
          ? await files.blob(file.sha256, file.size)
          : await readTable(home, files.chunks(index, signal))
      const path = join(folder, file.path)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, bytes)
      read += bytes.length
    }
    return { folder, bytes: read, remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Header directly followed by the table: what the archive format calls `manifestOnly`. */
async function readTable({ description }: HomeSession, source: Parameters<typeof openArchive>[0]): Promise<Uint8Array> {
  const verifiers = new Map(description.contentKeys.map(({ keyId, verifierPub }) => [keyId, hexDecode(verifierPub)]))
  const archive = await openArchive(source, { verifiers })
  const header = await source.read(0, HEADER_BYTES)
  return concatBytes(header, archive.manifestBytes)
}

/** docs/spec/m2pack.md §1. */
const HEADER_BYTES = 128
