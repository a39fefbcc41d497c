import {
  deriveKek,
  kekProvider,
  newPassphraseKdf,
  parsePassphraseKdf,
  passphraseForms,
  Vault,
  VaultError,
  writePassphraseKdf,
} from '@keyturn/vault-kdf'
import type { MasterKeyProvider, PassphraseKdf } from '@keyturn/vault-kdf'
import { isRecord, wipe } from '@keyturn/primitives'
import type { JsonObject, RandomSource } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { ShapeError } from '../storage/shape.ts'
import { VaultRecords } from './vault-records.ts'

/** How the vault of the server is opened. */
export interface VaultSettings {
  /** Passphrase, as text or bytes. */
  readonly passphrase: string | Uint8Array
  /** Cost of the passphrase, as a power of two; default 17. Lower only in tests. */
  readonly scryptLogN?: number | undefined
}

/** The cost of the passphrase; read by its own parser, so its members are kept as they are. */
const settingRecords = collection('settings', (value): JsonObject => {
  if (!isRecord(value)) throw new ShapeError('', 'an object')
  return value as JsonObject
})
const NAME = 'vault-passphrase'

/** Somebody who can write to the metadata store must not be able to make the passphrase cheap to guess. */
function strongEnough(kdf: PassphraseKdf, settings: VaultSettings): PassphraseKdf {
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

/** Opens the vault with the first provider that fits; the error is that of the first. */
async function openWithFirst(
  providers: readonly MasterKeyProvider[],
  metadata: MetadataStore,
  random: RandomSource,
): Promise<Vault> {
  let first: unknown
  for (const provider of providers) {
    try {
      return await Vault.open(new VaultRecords(metadata), provider, { random })
    } catch (error) {
      first ??= error
      if (!(error instanceof VaultError) || error.code !== 'VK_KEYRING') throw first
    }
  }
  throw first
}

/** From now on a vault that is missing is one that was lost. */
async function settle(metadata: MetadataStore, kdf: PassphraseKdf): Promise<void> {
  await metadata.transaction(['vault'], (records) =>
    settingRecords.put(records, { key: NAME, value: { ...writePassphraseKdf(kdf) } }),
  )
}

/**
 * Opens the vault that seals runtime keys and transport keys at rest. It is made once, by the first server that is
 * given a passphrase; where one was made before and is missing, as after half a restore, the server does not start with
 * an empty one, which would answer every launcher that its key is unknown.
 *
 * @throws VaultError, `VK_KEYRING` for a wrong passphrase; ServerError `SRV_CONFIG` for stored parameters that are too
 * weak, `SRV_STORAGE` for a vault that is missing.
 */
export async function openServerVault(
  metadata: MetadataStore,
  settings: VaultSettings,
  random: RandomSource,
  onMade: () => void = () => undefined,
): Promise<Vault> {
  const { kdf, pending } = await prepare(metadata, settings, random)
  // An earlier version used the passphrase as it was typed: the current form first, then the older ones.
  const [provider, ...older] = passphraseForms(settings.passphrase).map((form) => {
    const kek = deriveKek(form, kdf)
    wipe(form)
    return kekProvider('passphrase', kek, random)
  })
  if (provider === undefined) throw new ServerError('SRV_CONFIG', 'The passphrase of the vault is empty')
  try {
    const vault = await openWithFirst([provider, ...older], metadata, random)
    // The process that made it died before it could record that.
    if (pending) await settle(metadata, kdf)
    return vault
  } catch (error) {
    if (!(error instanceof VaultError) || error.code !== 'VK_NOT_FOUND') throw error
    if (!pending) {
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
    const vault = await makeVault(metadata, provider, kdf, random)
    onMade()
    return vault
  }
}
