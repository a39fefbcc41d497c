import { pathExists } from '@keyturn/primitives/node'
import type { PublisherHost } from '../session.ts'
import type { StoredRelease } from './store.ts'

/**
 * The tree of the release before, whose stored bytes unchanged files keep. Without it players download again what was
 * packed under an earlier content key, so a missing one is reported.
 */
export async function earlierTree(
  { warn }: Pick<PublisherHost, 'warn'>,
  earlier: StoredRelease | undefined,
): Promise<string | undefined> {
  if (earlier === undefined || (await pathExists(earlier.tree))) return earlier?.tree
  warn(
    `The tree of release ${earlier.manifest.version} is gone ("${earlier.tree}"): every file is packed again. ` +
      'Players download again whatever was packed before the last rotation of the content key',
  )
  return undefined
}
