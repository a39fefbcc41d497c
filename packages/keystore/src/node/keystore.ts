import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PrimitivesError, wipe } from '@keyturn/primitives'
import { lockFile, systemErrorCode } from '@keyturn/primitives/node'
import { KeystoreError } from '../errors.ts'
import type { Passphrase } from '../generations.ts'
import { Keystore } from '../keystore.ts'
import type { KeystoreOptions } from '../keystore.ts'
import { fileStorage } from './file-storage.ts'
import type { FileStorageOptions } from './file-storage.ts'

/** Options of {@link createKeystore} and {@link openKeystore}. */
export interface FileKeystoreOptions extends KeystoreOptions, FileStorageOptions {}

/**
 * Makes a keystore file (mode 0600) where none is; its folder must exist.
 *
 * @throws KeystoreError `KEY_EXISTS`, `KEY_IO`, `KEY_LOCKED`.
 */
export async function createKeystore(
  path: string,
  passphrase: Passphrase,
  options: FileKeystoreOptions = {},
): Promise<Keystore> {
  return Keystore.create(fileStorage(path, options), passphrase, options)
}

/**
 * Opens a keystore file; see {@link Keystore.open}.
 *
 * @throws KeystoreError `KEY_NOT_FOUND`, `KEY_PASSPHRASE`, `KEY_PERMISSION`, `KEY_DAMAGED`, `KEY_FORMAT`, `KEY_IO`.
 */
export async function openKeystore(
  path: string,
  passphrase: Passphrase,
  options: FileKeystoreOptions = {},
): Promise<Keystore> {
  return Keystore.open(fileStorage(path, options), passphrase, options)
}

/** What {@link openOrCreateKeystore} found, for a source that must know. */
export interface KeystoreState {
  readonly path: string
  /** Whether there is a keystore, whole or damaged: then the source must give what it was made with. */
  readonly exists: boolean
}

/** Gives the passphrase once it is known whether it opens or makes; its bytes are wiped after use. */
export type PassphraseSource = (state: KeystoreState) => Passphrase | Promise<Passphrase>

/**
 * Opens a keystore file, or makes it and its folder (mode 0700) where there is none. Processes that start at the same
 * time make one keystore.
 *
 * @param secret - A passphrase, or a function that learns whether the keystore exists, such as `fromKeychain()`.
 * @throws KeystoreError as {@link openKeystore} and {@link createKeystore}; what the function throws.
 * @example `const keystore = await openOrCreateKeystore(defaultKeystorePath('my-cli'), fromKeychain())`
 */
export async function openOrCreateKeystore(
  path: string,
  secret: Passphrase | PassphraseSource,
  options: FileKeystoreOptions = {},
): Promise<Keystore> {
  const storage = fileStorage(path, options)
  const exists = async (): Promise<boolean> => {
    const { current, previous } = await storage.read()
    return current !== undefined || previous !== undefined
  }
  if (await exists()) return withSecretOf(secret, { path, exists: true }, (key) => Keystore.open(storage, key, options))
  // One process makes secret and keystore: of two secrets in one keychain entry the first would be lost.
  const unlock = await lockForMaking(path, options)
  try {
    const state = { path, exists: await exists() }
    return await withSecretOf(secret, state, (key) =>
      state.exists ? Keystore.open(storage, key, options) : Keystore.create(storage, key, options),
    )
  } finally {
    await unlock()
  }
}

async function withSecretOf(
  secret: Passphrase | PassphraseSource,
  state: KeystoreState,
  use: (passphrase: Passphrase) => Promise<Keystore>,
): Promise<Keystore> {
  if (typeof secret !== 'function') return use(secret)
  const given = await secret(state)
  try {
    return await use(given)
  } finally {
    if (typeof given === 'object') wipe('randomSecret' in given ? given.randomSecret : given)
  }
}

async function lockForMaking(path: string, options: FileKeystoreOptions): Promise<() => Promise<void>> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const { lockWaitMs = 5_000, fs } = options
    const lock = await lockFile(`${path}.making.lock`, { waitMs: lockWaitMs, fs })
    return () => lock.release()
  } catch (cause) {
    if (cause instanceof PrimitivesError && cause.code === 'PRIM_LOCKED')
      throw new KeystoreError('KEY_LOCKED', `Keystore "${path}" is being made by another process`, {
        cause,
        details: cause.details,
      })
    if (systemErrorCode(cause) === undefined) throw cause
    throw new KeystoreError('KEY_IO', `Cannot make the folder of keystore "${path}"`, { cause })
  }
}
