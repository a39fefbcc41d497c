import { nextDigestOf } from '@keyturn/kel/owner'
import { equalBytes, hexEncode, z32Encode } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { openOwnLog } from '../identity/identity.ts'
import type { Identity, NextKeyPlace } from '../identity/identity.ts'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import type { Keys } from '../keys.ts'
import { rolesInForce } from '../records/store.ts'

/**
 * Writes down which keys are in force by what the log says, when no journal can tell: the key that signs is brought
 * from the file it was promised in if it is not in the keystore yet. The log itself is not changed.
 *
 * @param identity - Opened to be written.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when the key in force is in none of the files at hand.
 */
export async function settleIdentity(identity: Identity, nowMs: number): Promise<void> {
  const { state } = await openOwnLog(identity)
  const [inForce] = state.publicKeys
  if (inForce === undefined) throw new PublisherError('CLI_INTERNAL', 'The log names no key')
  const keys = await identity.keys()
  const files: { readonly file: string; readonly keys: Keys }[] = []
  for (const file of new Set(identity.next.map((place) => place.file)))
    if (await pathExists(file)) files.push({ file, keys: await identity.nextKeys(file) })
  const alias = (await aliasOf(keys, inForce)) ?? (await bring(keys, files, inForce))
  const next: NextKeyPlace[] = []
  for (const { file, keys: promised } of files)
    for (const entry of promised.store.list())
      if (state.nextDigests.includes(nextDigestOf(await promised.publicKey(entry.alias))))
        next.push({ alias: entry.alias, file })
  const elsewhere = identity.next.filter(({ file }) => !next.some((place) => place.file === file))
  await identity.rename({ alias, next: [...next, ...elsewhere] }, new Date(nowMs).toISOString())
}

async function aliasOf(keys: Keys, publicKey: Uint8Array): Promise<string | undefined> {
  for (const { alias, kind } of keys.store.list())
    if (kind === 'identity' && equalBytes(await keys.publicKey(alias), publicKey)) return alias
  return undefined
}

async function bring(keys: Keys, files: readonly { readonly keys: Keys }[], publicKey: Uint8Array): Promise<string> {
  for (const { keys: promised } of files) {
    const alias = await aliasOf(promised, publicKey)
    if (alias === undefined) continue
    await promised.lend(alias, (seed) => keys.add(alias, 'identity', seed))
    return alias
  }
  throw new PublisherError('CLI_TURN_UNREADY', 'The key in force is in no file at hand', {
    hint: 'Nothing was changed. Bring the file with the next key, or restore the home from a backup',
  })
}

/** The transport identity of this home that a role document lists: the newest one, or the one in use if none is. */
export async function transportAlias(home: HomeSession, listed: readonly string[]): Promise<string> {
  const keys = await home.keys()
  const own = keys.store
    .list()
    .filter(({ kind }) => kind === 'transport-identity')
    .map(({ alias }) => alias)
    .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  for (const alias of own) if (listed.includes(z32Encode(await keys.publicKey(alias)))) return alias
  return home.description.aliases.transportIdentity
}

/** As {@link settleIdentity}, for the day-to-day keys: those that the role document in force lists. */
export async function settleRoles(home: HomeSession): Promise<void> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const [release, head] = [
    await signingAlias(home, 'release', document.roles.release.keys),
    await signingAlias(home, 'head', document.roles.head.keys),
  ]
  const transportIdentity = await transportAlias(home, document.transport)
  await home.update({ aliases: { ...home.description.aliases, release, head, transportIdentity } })
}

/** The key of this home that signs for a role: the one in use while it is listed, else the newest that is. */
export async function signingAlias(
  home: HomeSession,
  kind: 'release' | 'head',
  listed: readonly string[],
): Promise<string> {
  const keys = await home.keys()
  const current = home.description.aliases[kind]
  const candidates = keys.store
    .list()
    .map(({ alias }) => alias)
    .filter((alias) => alias.startsWith(`${kind}/`))
    .toReversed()
  for (const alias of [current, ...candidates]) {
    if (keys.has(alias) && listed.includes(hexEncode(await keys.publicKey(alias)))) return alias
  }
  return current
}
