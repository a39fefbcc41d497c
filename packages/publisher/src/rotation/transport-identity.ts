import { join } from 'node:path'
import { copyFile, mkdir, rename } from 'node:fs/promises'
import { parseRoles } from '@keyturn/manifest'
import { checkRolesStep, writeRoles } from '@keyturn/manifest/publish'
import { transportIdentity } from '@keyturn/noise-keys'
import { parseMetadata } from '@keyturn/noise-keys/owner'
import { pathExists, syncFolder } from '@keyturn/primitives/node'
import { z32Encode } from '@keyturn/primitives'
import { followingAlias } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { readIfThere, rolesInForce } from '../records/store.ts'
import type { StoredRoles } from '../records/store.ts'
import { daysFrom } from '../time.ts'

/** How the transport identity is replaced. */
export interface TransportIdentityOptions {
  /** The old one may deliver no runtime keys any more; default: it stays listed beside the new one. */
  readonly revoke: boolean
  /** Days until the new role document expires. */
  readonly rolesDays: number
  readonly nowMs: number
}

/**
 * Makes a new transport identity, and the role document that puts it in force once the identity seals it. The key is
 * made once: called again, it proposes the same one.
 *
 * @param home - Open home, locked.
 */
export async function proposeTransportIdentity(
  home: HomeSession,
  { revoke, rolesDays, nowMs }: TransportIdentityOptions,
): Promise<StoredRoles> {
  const { aliases, identity } = home.description
  const keys = await home.keys()
  const { document } = await rolesInForce(home.paths, identity.prefix)
  const old = z32Encode(await keys.publicKey(aliases.transportIdentity))
  const fresh = z32Encode(await keys.makeSigning(followingAlias(aliases.transportIdentity), 'transport-identity'))
  const bytes = writeRoles({
    ...document,
    version: document.version + 1,
    issuedAt: daysFrom(nowMs, 0),
    expiresAt: daysFrom(nowMs, rolesDays),
    // Identities of others stay; of ours, the newest two at most.
    transport: [fresh, ...(revoke ? [] : [old]), ...document.transport.filter((id) => id !== old && id !== fresh)],
  })
  const proposed = parseRoles(bytes)
  checkRolesStep(document, proposed)
  return { bytes, document: proposed }
}

/**
 * Puts the records of a transport identity that leaves out of the way: its keys come from another seed. They stay in a
 * folder of their own; what was learned of other identities goes on to count.
 *
 * @param home - Open home, locked; still names the identity that leaves.
 */
export async function setTransportAside(home: HomeSession): Promise<void> {
  const { transport } = home.paths
  const { transportIdentity: alias } = home.description.aliases
  const bytes = await readIfThere(join(transport, 'keys.json'))
  if (bytes === undefined) return
  const { name } = transportIdentity(await (await home.keys()).publicKey(alias))
  if (parseMetadata(bytes).identity !== name) return
  const aside = `${transport}.${alias.slice(alias.lastIndexOf('/') + 1)}`
  if (await pathExists(aside)) return
  await rename(transport, aside)
  await mkdir(transport, { mode: 0o700 })
  for (const kept of ['floors.json', 'contacts.json'])
    if (await pathExists(join(aside, kept))) await copyFile(join(aside, kept), join(transport, kept))
  await syncFolder(home.paths.folder)
}
