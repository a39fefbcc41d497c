import { findKills, formatKill, parseKill, readKills, signKill, writeKills } from '@keyturn/manifest/kill'
import { formatTime } from '@keyturn/manifest/publish'
import type { SignedKill } from '@keyturn/manifest/kill'
import type { DocumentSigner } from '@keyturn/manifest/publish'
import { hexEncode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { HomePaths } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { readIfThere, rolesInForce } from '../records/store.ts'

/** Roles whose key can end itself. */
export type KilledRole = 'release' | 'head'

/** A key of this home that has ended itself. */
export interface KilledKey {
  readonly role: KilledRole
  readonly alias: string
  /** 64 lower-case hex. */
  readonly key: string
  /** The signed notice, as the server takes it. */
  readonly notice: Uint8Array
}

/** The notices of a home: of every key that it ended, or that its server showed as ended. */
export async function readHomeKills(paths: HomePaths): Promise<SignedKill[]> {
  const bytes = await readIfThere(paths.kills)
  return bytes === undefined ? [] : readKills(bytes)
}

/** Keys of the role document in force that have ended, 64 lower-case hex each. */
export async function killedKeys({ paths, description }: HomeSession): Promise<readonly string[]> {
  const { document } = await rolesInForce(paths, description.identity.prefix)
  return findKills([writeKills(await readHomeKills(paths))], document).keys
}

/**
 * Refuses to sign with a key that has ended: launchers install nothing that it signs.
 *
 * @throws {@link PublisherError} `REL_KEY_KILLED`.
 */
export async function refuseKilled(paths: HomePaths, signers: readonly DocumentSigner[]): Promise<void> {
  const killed = new Set((await readHomeKills(paths)).map(({ notice }) => notice.key))
  const found = signers.map(({ publicKey }) => hexEncode(publicKey)).find((key) => killed.has(key))
  if (found !== undefined)
    throw new PublisherError('REL_KEY_KILLED', `Key ${found} has ended: launchers install nothing that it signs`, {
      details: { key: found },
      hint: 'Put another key in force with the identity: keyturn rotate release',
    })
}

/**
 * Ends keys of the home: each signs a notice about itself, which is stored before anybody else sees it. A key that has
 * ended already keeps its notice. Needs no identity key.
 *
 * @throws {@link PublisherError} `REL_NOT_IN_FORCE` for a key that is not in the role document in force.
 */
export async function killKeys(
  home: HomeSession,
  roles: readonly KilledRole[],
  { nowMs }: { readonly nowMs: number },
): Promise<KilledKey[]> {
  const { description, paths } = home
  const { document } = await rolesInForce(paths, description.identity.prefix)
  const known = await readHomeKills(paths)
  const killed: KilledKey[] = []
  for (const role of roles) {
    const alias = description.aliases[role]
    const signer = await (await home.keys()).documentSigner(alias)
    const key = hexEncode(signer.publicKey)
    if (!document.roles[role].keys.includes(key))
      throw new PublisherError(
        'REL_NOT_IN_FORCE',
        `Key "${alias}" is not in role document ${document.version}: no launcher counts it`,
        { hint: 'Nothing has to be ended; see keyturn status' },
      )
    const own = known.find(({ notice }) => notice.key === key)
    const notice =
      own === undefined
        ? await signKill({ product: description.product, issuedAt: formatTime(nowMs) }, signer)
        : formatKill(own)
    killed.push({ role, alias, key, notice })
  }
  await writeFileAtomic(paths.kills, writeKills([...known, ...killed.map(({ notice }) => parseKill(notice))]), {
    mode: 0o600,
  })
  return killed
}

/** Shows notices to launchers. The same notice again changes nothing. */
export async function uploadKills(
  home: HomeSession,
  client: ReleaseServerClient,
  killed: readonly KilledKey[],
): Promise<void> {
  for (const { notice } of killed) await client.kill(home.description.product, notice)
}
