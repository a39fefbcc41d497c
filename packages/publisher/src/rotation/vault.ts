import { wipe } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { openKeystore } from '@keyturn/keystore/node'
import type { Keystore } from '@keyturn/keystore'
import type { HomeSession } from '../home-session.ts'
import type { PublisherHost } from '../session.ts'
import { openVault, vaultExists, vaultPaths } from '../vault-location.ts'
import type { Facts } from './facts.ts'
import type { Rotation, RotationStep } from './journal.ts'

/** The master keys of a home, by their name in the journal. */
export const MASTERS = ['keystore', 'next-key', 'vault'] as const

/** One of {@link MASTERS}. */
export type MasterName = (typeof MASTERS)[number]

/** What is known of the rotation of one master. */
export interface MasterRotation {
  readonly from: number
  /** After its step: the version in force, and how many secrets are sealed under it. */
  readonly rotated?: { readonly to: number; readonly secrets: number } | undefined
}

/** What the rotation of the masters remembers. */
export type VaultState = Readonly<Partial<Record<MasterName, MasterRotation | undefined>>>

function parseMaster(facts: Facts, name: MasterName, isDone: boolean): MasterRotation | undefined {
  const version = (fact: string): number => facts.integer(fact, 0, Number.MAX_SAFE_INTEGER)
  if (isDone)
    return {
      from: version(`${name}_from`),
      rotated: { to: version(`${name}_to`), secrets: version(`${name}_secrets`) },
    }
  const from = facts.optional(`${name}_from`, version)
  return from === undefined ? undefined : { from }
}

/** The journal of `keyturn rotate vault`. */
export const vaultRotation: Rotation<VaultState> = {
  name: 'vault',
  what: 'the master keys',
  orders: [['plan', ...MASTERS]],
  skippable: MASTERS,
  parse: (facts, isDone) =>
    isDone('plan') ? Object.fromEntries(MASTERS.map((name) => [name, parseMaster(facts, name, isDone(name))])) : {},
  format: (state) =>
    Object.fromEntries(
      MASTERS.flatMap((name) => {
        const { from, rotated } = state[name] ?? {}
        return [
          ...(from === undefined ? [] : [[`${name}_from`, from] as const]),
          ...(rotated === undefined
            ? []
            : ([
                [`${name}_to`, rotated.to],
                [`${name}_secrets`, rotated.secrets],
              ] as const)),
        ]
      }),
    ),
}

/** A keystore whose own master rotates. */
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

/** What `keyturn rotate vault` rotates, for people. */
export async function vaultRotationParts(host: PublisherHost, home: HomeSession): Promise<string[]> {
  const hasVault = await vaultExists(vaultPaths(host, {}))
  return [...(await keystores(home, undefined)).map(({ what }) => what), ...(hasVault ? ['vault'] : [])]
}

/**
 * The steps that rotate the masters under which the home's secrets are sealed. The versions they begin with are written
 * down first: a step that is repeated rotates nothing twice.
 *
 * @param home - Open home, locked.
 */
export async function vaultRotationSteps(
  host: PublisherHost,
  home: HomeSession,
  nextPassphraseFile: string | undefined,
): Promise<RotationStep<VaultState>[]> {
  const places = await keystores(home, nextPassphraseFile)
  const hasVault = await vaultExists(vaultPaths(host, {}))
  return [
    { name: 'plan', title: 'look which master versions are in force', run: () => versions(host, places, hasVault) },
    ...places.map((place): RotationStep<VaultState> => ({
      name: place.name,
      title: `rotate the master of the ${place.what}`,
      run: (state) => rotateKeystore(host, place, state),
    })),
    ...(hasVault
      ? [
          {
            name: 'vault',
            title: 'rotate the master of the vault and seal every record again',
            run: (state: VaultState) => rotateVault(host, state),
          },
        ]
      : []),
  ]
}

async function versions(host: PublisherHost, places: readonly KeystorePlace[], hasVault: boolean): Promise<VaultState> {
  const found: Partial<Record<MasterName, MasterRotation>> = {}
  // Every passphrase is tried before anything is rotated.
  for (const place of places)
    found[place.name] = await withKeystore(host, place, (keystore) =>
      Promise.resolve({ from: activeVersion(keystore) }),
    )
  if (hasVault) found.vault = { from: (await openVaultOnce(host)).keys.active ?? 0 }
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

async function rotateKeystore(host: PublisherHost, place: KeystorePlace, state: VaultState): Promise<VaultState> {
  return await withKeystore(host, place, async (keystore) => {
    // A file that came to hand after the rotation began rotates as well.
    const from = state[place.name]?.from ?? activeVersion(keystore)
    if (activeVersion(keystore) <= from) await keystore.rotateMaster()
    return { [place.name]: { from, rotated: { to: activeVersion(keystore), secrets: keystore.list().length } } }
  })
}

const opened = new WeakMap<PublisherHost, ReturnType<typeof openVault>>()

/** A vault takes a lock: one process opens it once. */
async function openVaultOnce(host: PublisherHost): ReturnType<typeof openVault> {
  const known = opened.get(host) ?? openVault(host, {})
  opened.set(host, known)
  return await known
}

async function rotateVault(host: PublisherHost, state: VaultState): Promise<VaultState> {
  const vault = await openVaultOnce(host)
  const from = state.vault?.from ?? vault.keys.active ?? 0
  if ((vault.keys.active ?? 0) <= from) {
    // A version that was made and not put in force is used.
    const staged = vault.keys.list().find(({ version, state: of }) => version > from && of === 'staged')
    await vault.keys.promote(staged?.version ?? (await vault.keys.stage()))
  }
  const { counts, remaining } = await vault.sweep({ signal: host.signal })
  const isLive = vault.keys
    .list()
    .some(({ version, state: of }) => version === from && of !== 'destroyed' && of !== 'quarantined')
  if (remaining === 0 && isLive) await vault.keys.retire(from)
  return { vault: { from, rotated: { to: vault.keys.active ?? 0, secrets: counts.resealed } } }
}
