import { kekProvider, Vault, VaultError } from '@keyturn/vault-kdf'
import {
  deriveKek,
  newPassphraseKdf,
  parsePassphraseKdf,
  passphraseBytes,
  passphraseForms,
  writePassphraseKdf,
} from '@keyturn/vault-kdf/passphrase'
import type { MasterKeyProvider } from '@keyturn/vault-kdf'
import type { PassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import { equalBytes, isRecord, wipe } from '@keyturn/primitives'
import type { JsonObject, RandomSource } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { ShapeError } from '../storage/shape.ts'
import { isOfSecond, openSecond, parseSecond, sealSecond, writeSecond } from './second-passphrase.ts'
import { VaultRecords } from './vault-records.ts'

/** How the vault of the server is opened. */
export interface VaultSettings {
  /** Passphrase, as text or bytes. A new vault is made with it. */
  readonly passphrase: string | Uint8Array
  /**
   * Opens the vault too, from now on also alone. `keyturn serve` makes its vault with a secret of the home and gives
   * the passphrase of the home here, so that `keyturn-server` opens the same data with that passphrase.
   */
  readonly secondPassphrase?: string | Uint8Array | undefined
  /** Cost of the passphrase, as a power of two; default 17. Lower only in tests. */
  readonly scryptLogN?: number | undefined
}

/** The cost of the passphrase; read by its own parser, so its members are kept as they are. */
const settingRecords = collection('settings', (value): JsonObject => {
  if (!isRecord(value)) throw new ShapeError('', 'an object')
  return value as JsonObject
})
const NAME = 'vault-passphrase'
const SECOND_NAME = 'vault-second-passphrase'

/** Somebody who can write to the metadata store must not be able to make the passphrase cheap to guess. */
function strongEnough(kdf: PassphraseKdf, settings: Pick<VaultSettings, 'scryptLogN'>): PassphraseKdf {
  const strong = kdf.algorithm === 'scrypt' && kdf.logN >= 15 && kdf.r >= 8
  if (strong || settings.scryptLogN !== undefined) return kdf
  throw new ServerError(
    'SRV_CONFIG',
    'The stored parameters of the vault passphrase are below scrypt 2^15, r 8: they are not what this server writes',
  )
}

/** What is stored about the passphrase; `pending` while the vault under it is not made yet. */
interface Prepared {
  readonly kdf: PassphraseKdf
  readonly pending: boolean
}

async function prepare(metadata: MetadataStore, settings: VaultSettings, random: RandomSource): Promise<Prepared> {
  return metadata.transaction(['vault'], async (records) => {
    const stored = await settingRecords.get(records, NAME)
    if (stored !== undefined) {
      const { pending = false, ...kdf } = stored
      return { kdf: strongEnough(parsePassphraseKdf(kdf), settings), pending: pending === true }
    }
    const fresh = newPassphraseKdf(random, settings.scryptLogN)
    await settingRecords.put(records, { key: NAME, value: { ...writePassphraseKdf(fresh), pending: true } })
    return { kdf: fresh, pending: true }
  })
}

async function makeVault(
  metadata: MetadataStore,
  provider: MasterKeyProvider,
  kdf: PassphraseKdf,
  random: RandomSource,
): Promise<Vault> {
  const store = new VaultRecords(metadata)
  const vault = await Vault.create(store, provider, { random }).catch((error: unknown) => {
    // Another replica that started at the same time was faster: its vault is ours.
    if (error instanceof VaultError && error.code === 'VK_CONFLICT') return Vault.open(store, provider, { random })
    throw error
  })
  await settle(metadata, kdf)
  return vault
}

/** From now on a vault that is missing is one that was lost. */
async function settle(metadata: MetadataStore, kdf: PassphraseKdf): Promise<void> {
  await metadata.transaction(['vault'], (records) =>
    settingRecords.put(records, { key: NAME, value: { ...writePassphraseKdf(kdf) } }),
  )
}

/** An open vault, the passphrase that it was made with, and the key made of that. */
interface Opened {
  readonly vault: Vault
  readonly first: Uint8Array
  readonly firstKek: Uint8Array
}

const isWrongKey = (error: unknown): boolean => error instanceof VaultError && error.code === 'VK_KEYRING'

/**
 * Opens the vault with the passphrase that it was made with. An earlier version used the passphrase as it was typed:
 * the current form first, then the older ones; the error is that of the first.
 */
async function openWith(
  passphrase: string | Uint8Array,
  kdf: PassphraseKdf,
  metadata: MetadataStore,
  random: RandomSource,
): Promise<Opened> {
  let failure: unknown
  for (const first of passphraseForms(passphrase)) {
    const firstKek = deriveKek(first, kdf)
    try {
      const provider = kekProvider('passphrase', firstKek, random)
      return { vault: await Vault.open(new VaultRecords(metadata), provider, { random }), first, firstKek }
    } catch (error) {
      wipe(first)
      failure ??= error
      if (!isWrongKey(error)) break
    }
  }
  throw failure ?? new ServerError('SRV_CONFIG', 'The passphrase of the vault is empty')
}

/** The passphrases of the settings: either may be the one that the vault was made with. */
function passphrasesOf({ passphrase, secondPassphrase }: VaultSettings): (string | Uint8Array)[] {
  return secondPassphrase === undefined ? [passphrase] : [passphrase, secondPassphrase]
}

async function openWithAny(
  { kdf }: Prepared,
  settings: VaultSettings,
  metadata: MetadataStore,
  random: RandomSource,
): Promise<Opened> {
  let failure: unknown
  for (const passphrase of passphrasesOf(settings)) {
    try {
      return await openWith(passphrase, kdf, metadata, random)
    } catch (error) {
      if (!isWrongKey(error)) throw error
      failure ??= error
    }
  }
  const first = await firstBySecond(settings, metadata)
  if (first !== undefined) return await openWith(first, kdf, metadata, random)
  throw new VaultError('VK_KEYRING', 'Cannot open the vault of the server: it was made with another passphrase', {
    hint: 'Give the passphrase that it was made with; of a server that "keyturn serve" ran, the passphrase of the home',
    cause: failure,
  })
}

/** The passphrase that the vault was made with, where one of the settings is its second one. */
async function firstBySecond(settings: VaultSettings, metadata: MetadataStore): Promise<Uint8Array | undefined> {
  const stored = await settingRecords.get(metadata, SECOND_NAME)
  if (stored === undefined) return undefined
  const second = parseSecond(stored)
  strongEnough(second.kdf, settings)
  for (const form of passphrasesOf(settings).flatMap((passphrase) => passphraseForms(passphrase))) {
    const first = openSecond(second, form)
    wipe(form)
    if (first !== undefined) return first
  }
  return undefined
}

/** Lets the passphrase of the settings that the vault was not made with open it alone, unless it does already. */
async function keepSecond(
  { first, firstKek }: Opened,
  settings: VaultSettings,
  metadata: MetadataStore,
  random: RandomSource,
): Promise<void> {
  const others = passphrasesOf(settings)
    .map((passphrase) => passphraseBytes(passphrase))
    .filter((passphrase) => !equalBytes(passphrase, first))
  const stored = await settingRecords.get(metadata, SECOND_NAME)
  const known = stored === undefined ? undefined : parseSecond(stored)
  const isKept = others.some((second) => known !== undefined && isOfSecond(known, { firstKek, second }))
  const second = others.at(-1)
  if (second !== undefined && !isKept) {
    const value = writeSecond(sealSecond({ first, firstKek, second }, random, settings.scryptLogN))
    await metadata.transaction(['vault'], (records) => settingRecords.put(records, { key: SECOND_NAME, value }))
  }
  wipe(...others)
}

/** Opens the vault, or makes the one that this passphrase was prepared for. */
async function openOrMake(
  prepared: Prepared,
  settings: VaultSettings,
  metadata: MetadataStore,
  random: RandomSource,
): Promise<Opened & { readonly isNew: boolean }> {
  try {
    const opened = await openWithAny(prepared, settings, metadata, random)
    // The process that made it died before it could record that.
    if (prepared.pending) await settle(metadata, prepared.kdf)
    return { ...opened, isNew: false }
  } catch (error) {
    if (!(error instanceof VaultError) || error.code !== 'VK_NOT_FOUND') throw error
    if (!prepared.pending) {
      throw new ServerError(
        'SRV_STORAGE',
        'The vault that was made for this passphrase is missing from the metadata store',
        {
          hint:
            'Restore the metadata store from its backup; or delete its record settings/vault-passphrase to ' +
            'begin with an empty vault, and upload the keys again',
          cause: error,
        },
      )
    }
    const first = passphraseBytes(settings.passphrase)
    const firstKek = deriveKek(first, prepared.kdf)
    const vault = await makeVault(metadata, kekProvider('passphrase', firstKek, random), prepared.kdf, random)
    return { vault, first, firstKek, isNew: true }
  }
}

/** Whether the stores hold a vault, or one that was lost. */
export async function holdsVault(metadata: MetadataStore): Promise<boolean> {
  return (await settingRecords.get(metadata, NAME)) !== undefined
}

/**
 * Opens the vault that seals runtime keys and transport keys at rest. It is made once, by the first server that is
 * given a passphrase; where one was made before and is missing, as after half a restore, the server does not start with
 * an empty one, which would answer every launcher that its key is unknown.
 *
 * @throws VaultError, `VK_KEYRING` for wrong passphrases; ServerError `SRV_CONFIG` for stored parameters that are too
 * weak, `SRV_STORAGE` for a vault that is missing.
 */
export async function openServerVault(
  metadata: MetadataStore,
  settings: VaultSettings,
  random: RandomSource,
  onMade: () => void = () => undefined,
): Promise<Vault> {
  const prepared = await prepare(metadata, settings, random)
  const opened = await openOrMake(prepared, settings, metadata, random)
  if (opened.isNew) onMade()
  await keepSecond(opened, settings, metadata, random)
  wipe(opened.first)
  return opened.vault
}
