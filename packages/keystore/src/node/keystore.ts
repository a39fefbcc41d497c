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
