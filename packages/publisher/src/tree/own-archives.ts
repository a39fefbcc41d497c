import { join } from 'node:path'
import { M2pError } from '@keyturn/m2pack-format'
import type { Archive } from '@keyturn/m2pack-format'
import { openArchiveFile } from '@keyturn/m2pack-format/node'
import { hexDecode, hexEncode, printable } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import type { HomeContentKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import type { StoredRelease } from '../records/store.ts'

/**
 * Opens an archive that must be of this home: signed by its archive key, under a content key that it holds. Needs no
 * passphrase. Close it.
 *
 * @param file - Where it is.
 * @param name - Its path in the tree, for people.
 * @param contentKeys - Of the home.
 * @throws {@link PublisherError} `BUILD_FOREIGN_ARCHIVE`; those of the archive format for other damage.
 */
export async function openOurs(
  file: string,
  name: string,
  contentKeys: readonly HomeContentKey[],
): Promise<{ archive: Archive; close(): Promise<void> }> {
  const verifiers = new Map(contentKeys.map(({ keyId, verifierPub }) => [keyId, hexDecode(verifierPub)]))
  const opened = await openArchiveFile(file, { verifiers }).catch((cause: unknown) => {
    if (!(cause instanceof M2pError) || (cause.code !== 'M2P_KEY_ID_UNKNOWN' && cause.code !== 'M2P_SIGNATURE'))
      throw cause
    throw foreign(name, cause)
  })
  const { archive } = opened
  const known = contentKeys.find(({ keyId }) => keyId === archive.keyId)
  if (known?.commitment === hexEncode(archive.keyCommitment)) return opened
  await opened.close()
  throw foreign(name)
}

/**
 * Looks at the header of every archive of a release, as far as its tree is still there: players must get the keys that
 * these were packed with.
 *
 * @param home - Open home.
 * @param release - Prepared before.
 * @throws {@link PublisherError} `BUILD_FOREIGN_ARCHIVE`.
 */
export async function refuseForeignArchives(home: HomeSession, { manifest, tree }: StoredRelease): Promise<void> {
  for (const { path, keyId } of manifest.files) {
    const file = join(tree, path)
    if (keyId !== undefined && (await pathExists(file)))
      await (await openOurs(file, path, home.description.contentKeys)).close()
  }
}

function foreign(name: string, cause?: M2pError): PublisherError {
  return new PublisherError('BUILD_FOREIGN_ARCHIVE', `"${printable(name)}" was not packed with the keys of this home`, {
    details: { path: printable(name) },
    hint: 'Pack the tree with "keyturn pack tree" in this home, or give --home of the one that packed it',
    cause,
  })
}
