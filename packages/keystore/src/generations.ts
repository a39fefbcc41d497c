import { SecretBytes, wipe } from '@keyturn/primitives'
import { deriveKek, passphraseBytes } from '@keyturn/vault-kdf'
import type { PassphraseKdf } from '@keyturn/vault-kdf'
import { readContents } from './contents.ts'
import type { Contents } from './contents.ts'
import { KeystoreError } from './errors.ts'
import { parseKeystoreHeader } from './keystore-file.ts'
import type { KeystoreStorage } from './storage.ts'

/** Text (taken in normal form C) or bytes; bytes are not kept. */
export type Passphrase = string | Uint8Array

/** Said when the current generation was missing or damaged and the one before it was opened. */
export interface KeystoreRecovery {
  readonly reason: string
  /** Generation now open; what was written after it is lost. */
  readonly generation: number
}

/** A generation that was opened. */
export interface OpenedKeystore {
  readonly kek: SecretBytes
  readonly contents: Contents
  readonly bytes: Uint8Array
  readonly recovery: KeystoreRecovery | undefined
}

/** The key that a passphrase gives. @throws RangeError for an empty one. */
export function kekOf(passphrase: Passphrase, kdf: PassphraseKdf): SecretBytes {
  const bytes = passphraseBytes(passphrase)
  try {
    if (bytes.length === 0) throw new RangeError('The passphrase is empty')
    return SecretBytes.take(deriveKek(bytes, kdf))
  } finally {
    wipe(bytes)
  }
}

function openGeneration(bytes: Uint8Array, passphrase: Passphrase): Omit<OpenedKeystore, 'recovery'> {
  const kek = kekOf(passphrase, parseKeystoreHeader(bytes).kdf)
  try {
    return { kek, contents: readContents(bytes, kek), bytes }
  } catch (error) {
    kek.dispose()
    throw error
  }
}

/**
 * Opens the current generation, or the one before it where that is missing or damaged.
 *
 * @throws KeystoreError `KEY_NOT_FOUND`, `KEY_PASSPHRASE`, `KEY_DAMAGED`, `KEY_FORMAT`, `KEY_PERMISSION`, `KEY_IO`.
 */
export async function openGenerations(storage: KeystoreStorage, passphrase: Passphrase): Promise<OpenedKeystore> {
  const { current, previous } = await storage.read()
  let reason = 'the file is missing'
  let first: unknown = new KeystoreError('KEY_NOT_FOUND', `There is no keystore: ${storage.description}`)
  try {
    if (current !== undefined) return { ...openGeneration(current, passphrase), recovery: undefined }
  } catch (error) {
    if (!(error instanceof KeystoreError) || (error.code !== 'KEY_DAMAGED' && error.code !== 'KEY_FORMAT')) throw error
    reason = error.message
    first = error
  }
  if (previous === undefined) throw first
  return openPrevious(previous, passphrase, reason, first)
}

function openPrevious(previous: Uint8Array, passphrase: Passphrase, reason: string, first: unknown): OpenedKeystore {
  try {
    const opened = openGeneration(previous, passphrase)
    return { ...opened, recovery: { reason, generation: opened.contents.generation } }
  } catch (error) {
    // A wrong passphrase is said as such; two damaged files are reported by the first.
    throw error instanceof KeystoreError && error.code === 'KEY_PASSPHRASE' ? error : first
  }
}
