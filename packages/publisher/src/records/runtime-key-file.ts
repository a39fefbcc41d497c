import { join } from 'node:path'
import { hexDecode, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { RuntimeKey, writeRuntimeKeyJson } from '@keyturn/runtime-key'
import { keyAlias } from '../home.ts'
import type { HomeContentKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'

/** Name of the sidecar file that hands the content key to the launcher. */
export const runtimeKeyFile = 'runtime-key.json'

/**
 * Puts the runtime key of a content key into a release tree: anyone who downloads the release can start it. Releases
 * whose key is handed out over Noise do without.
 *
 * @param home - Open home.
 * @param tree - The release tree.
 * @param contentKey - Which one.
 */
export async function writeRuntimeKeyFile(home: HomeSession, tree: string, contentKey: HomeContentKey): Promise<void> {
  const keys = await home.keys()
  const runtimeKey = await keys.lend(keyAlias.content(contentKey.keyId), (key) =>
    RuntimeKey.take({
      keyId: contentKey.keyId,
      masterKey: key.slice(),
      signPublicKey: hexDecode(contentKey.verifierPub),
    }),
  )
  const bytes = writeRuntimeKeyJson(runtimeKey)
  runtimeKey.dispose()
  try {
    await writeFileAtomic(join(tree, runtimeKeyFile), bytes, { mode: 0o600 })
  } finally {
    wipe(bytes)
  }
}
