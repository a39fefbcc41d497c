import { KeyturnError } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import type { PublisherHost } from '../session.ts'
import { fetchTables } from './archive-tables.ts'
import type { StoredRelease } from '../records/store.ts'

/** What unchanged files keep slot and ciphertext by. */
export interface EarlierTree {
  /** For `packTree`; undefined when every file is packed again. */
  readonly folder: string | undefined
  /** Removes what was fetched. */
  release(): Promise<void>
}

const none = (folder: string | undefined): EarlierTree => ({ folder, release: async () => {} })

/**
 * The server answered, and has nothing there. Other bytes, or no answer, are no reason to let players download it all.
 */
function isMissing(error: unknown): boolean {
  if (!(error instanceof KeyturnError)) return false
  const isGone = error.code === 'BLOB_UNKNOWN' || error.code === 'SRV_NOT_FOUND'
  return isGone || (error.code === 'REL_SERVER_FILE' && error.details['missing'] === 1)
}

/**
 * The tree of the release before, or, where it is gone, the tables of its archives from the server. Where neither has
 * them, players download again what was packed under an earlier content key, so that is reported.
 *
 * @param host - The program.
 * @param home - Open home.
 * @param earlier - The release before; undefined for the first.
 * @param client - The server that has it; undefined when none is asked.
 * @throws {@link PublisherError} `REL_SERVER_FILE` for other bytes than the signed manifest names; those of the
 *   network.
 */
export async function earlierTree(
  host: Pick<PublisherHost, 'warn' | 'signal'>,
  home: HomeSession,
  earlier: StoredRelease | undefined,
  client?: ReleaseServerClient,
): Promise<EarlierTree> {
  if (earlier === undefined) return none(undefined)
  if (await pathExists(earlier.tree)) return none(earlier.tree)
  const { version } = earlier.manifest
  let reason = 'no server was asked'
  try {
    if (client !== undefined) {
      const { folder, remove } = await fetchTables(home, client, earlier, host.signal)
      return { folder, release: remove }
    }
  } catch (error) {
    if (!isMissing(error)) throw error
    reason = 'and the server lacks its files'
  }
  host.warn(
    `The tree of release ${version} is gone ("${earlier.tree}"; ${reason}): every file is packed again. ` +
      'Players download again whatever was packed before the last rotation of the content key',
  )
  return none(undefined)
}
