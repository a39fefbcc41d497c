import { hexDecode, KeyturnError, wipe } from '@keyturn/primitives'
import type { ReleaseManifest } from '@keyturn/manifest'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { RuntimeKey, writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import { keyAlias } from '../home.ts'
import type { HomeContentKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { runtimeKeyFile } from '../records/runtime-key-file.ts'

/** Which keys a server delivers for a release from now on. */
export interface UploadedRuntimeKeys {
  /** Their `key_id`s. */
  readonly keyIds: readonly number[]
  /** Why it does not: players of this release get their key elsewhere, or cannot start it. */
  readonly problem?: string | undefined
}

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

/**
 * Gives a server the runtime keys of a release that does not carry them in a file, so that it can deliver them over
 * Noise. They travel through TLS, or do not leave the machine; the server seals them in its vault.
 *
 * @param home - Open home; asks for the passphrase where there is something to send.
 */
export async function uploadRuntimeKeys(
  home: HomeSession,
  client: ReleaseServerClient,
  { files }: Pick<ReleaseManifest, 'files'>,
): Promise<UploadedRuntimeKeys> {
  if (files.some(({ path }) => path === runtimeKeyFile)) return { keyIds: [] }
  const used = new Set(files.flatMap(({ keyId }) => keyId ?? []))
  const own = home.description.contentKeys.filter(({ keyId, status }) => used.has(keyId) && status !== 'revoked')
  if (own.length === 0) return { keyIds: [] }
  const { protocol, hostname, origin } = client.server
  if (protocol !== 'https:' && !LOOPBACK.has(hostname))
    return { keyIds: [], problem: `"${origin}" is neither https nor on this machine: a secret does not travel there` }
  try {
    for (const key of own) await uploadOne(home, client, key)
    return { keyIds: own.map(({ keyId }) => keyId) }
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.kind === 'bug') throw error
    return { keyIds: [], problem: `${error.message} (${error.code})` }
  }
}

async function uploadOne(
  home: HomeSession,
  client: ReleaseServerClient,
  { keyId, verifierPub }: HomeContentKey,
): Promise<void> {
  const runtimeKey = await (
    await home.keys()
  ).lend(keyAlias.content(keyId), (key) =>
    RuntimeKey.take({ keyId, masterKey: key.slice(), signPublicKey: hexDecode(verifierPub) }),
  )
  const blob = writeRuntimeKeyBlob(runtimeKey)
  runtimeKey.dispose()
  try {
    await client.putRuntimeKey(home.description.product, keyId, blob)
  } finally {
    wipe(blob)
  }
}
