import { wipe } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { openKeystore } from '@keyturn/keystore/node'
import type { Keystore } from '@keyturn/keystore'
import type { PublisherHost } from '../session.ts'
import { openVault, vaultExists, vaultPaths } from '../vault-location.ts'
import type { HomeSession } from '../home-session.ts'
import type { TurnStep } from './journal.ts'

/** A keystore whose own master turns. */
interface KeystorePlace {
  /** Name in the journal. */
  readonly name: 'keystore' | 'next-key'
  /** For people. */
  readonly what: string
  readonly path: string
  /** Another passphrase file. */
  readonly file: string | undefined
}

/** The keystores of a home that are at hand. */
async function keystores(home: HomeSession, nextPassphraseFile: string | undefined): Promise<KeystorePlace[]> {
  const all: KeystorePlace[] = [
    { name: 'keystore', what: 'keystore', path: home.paths.keystore, file: undefined },
    { name: 'next-key', what: 'next identity key', path: home.nextKeyFile, file: nextPassphraseFile },
  ]
  const there = await Promise.all(all.map(({ path }) => pathExists(path)))
  return all.filter((_, index) => there[index])
}

/** What `keyturn rotate vault` turns, for people. */
export async function vaultTurnParts(host: PublisherHost, home: HomeSession): Promise<string[]> {
  const hasVault = await vaultExists(vaultPaths(host, {}))
  return [...(await keystores(home, undefined)).map(({ what }) => what), ...(hasVault ? ['vault'] : [])]
}

/**
 * The steps that turn the masters under which the home's secrets are sealed. The versions they begin with are written
 * down first: a step that is repeated turns nothing twice.
 *
 * @param home - Open home, locked.
 */
export async function vaultTurnSteps(
  host: PublisherHost,
  home: HomeSession,
  nextPassphraseFile: string | undefined,
): Promise<TurnStep[]> {
  const places = await keystores(home, nextPassphraseFile)
  const hasVault = await vaultExists(vaultPaths(host, {}))
  return [
    { name: 'plan', title: 'look which master versions are in force', run: () => versions(host, places, hasVault) },
    ...places.map((place): TurnStep => ({
      name: place.name,
      title: `turn the master of the ${place.what}`,
      run: (facts) => turnKeystore(host, place, facts),
    })),
    ...(hasVault
      ? [
          {
            name: 'vault',
            title: 'turn the master of the vault and seal every record anew',
            run: (facts: JsonObject) => turnVault(host, facts),
          },
        ]
      : []),
  ]
}

async function versions(host: PublisherHost, places: readonly KeystorePlace[], hasVault: boolean): Promise<JsonObject> {
  const found: Record<string, number> = {}
  // Every passphrase is tried before anything is turned.
  for (const place of places)
    found[`${place.name}_from`] = await withKeystore(host, place, (keystore) =>
      Promise.resolve(activeVersion(keystore)),
    )
  if (hasVault) found['vault_from'] = (await openVaultOnce(host)).keys.active ?? 0
  return found
}

function activeVersion(keystore: Keystore): number {
  return keystore.masters().find(({ state }) => state === 'active')?.version ?? 0
}

async function withKeystore<T>(
  host: PublisherHost,
  { name, path, file }: KeystorePlace,
  use: (keystore: Keystore) => Promise<T>,
): Promise<T> {
  const passphrase = await host.passphrase(name === 'keystore' ? 'Passphrase' : 'Passphrase of the next identity key', {
    file,
  })
  try {
    const keystore = await openKeystore(path, passphrase, { clock: host.clock, keepPrevious: name === 'keystore' })
    try {
      return await use(keystore)
    } finally {
      keystore.close()
    }
  } finally {
    wipe(passphrase)
  }
}

async function turnKeystore(host: PublisherHost, place: KeystorePlace, facts: JsonObject): Promise<JsonObject> {
  // A file that came to hand after the turn began turns as well.
  const planned = facts[`${place.name}_from`]
  return await withKeystore(host, place, async (keystore) => {
    const from = typeof planned === 'number' ? planned : activeVersion(keystore)
    if (activeVersion(keystore) <= from) await keystore.rotateMaster()
    return {
      [`${place.name}_from`]: from,
      [`${place.name}_to`]: activeVersion(keystore),
      [`${place.name}_secrets`]: keystore.list().length,
    }
  })
}

const opened = new WeakMap<PublisherHost, ReturnType<typeof openVault>>()

/** A vault takes a lock: one process opens it once. */
async function openVaultOnce(host: PublisherHost): ReturnType<typeof openVault> {
  const known = opened.get(host) ?? openVault(host, {})
  opened.set(host, known)
  return await known
}

async function turnVault(host: PublisherHost, facts: JsonObject): Promise<JsonObject> {
  const vault = await openVaultOnce(host)
  const from = Number(facts['vault_from'] ?? vault.keys.active ?? 0)
  if ((vault.keys.active ?? 0) <= from) {
    // A version that was made and not put in force is taken up.
    const staged = vault.keys.list().find(({ version, state }) => version > from && state === 'staged')
    await vault.keys.promote(staged?.version ?? (await vault.keys.stage()))
  }
  const { counts, remaining } = await vault.sweep({ signal: host.signal })
  const isLive = vault.keys
    .list()
    .some(({ version, state }) => version === from && state !== 'destroyed' && state !== 'quarantined')
  if (remaining === 0 && isLive) await vault.keys.retire(from)
  return { vault_from: from, vault_to: vault.keys.active ?? 0, vault_secrets: counts.resealed }
}
