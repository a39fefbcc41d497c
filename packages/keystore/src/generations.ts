import { SecretBytes, equalBytes, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { deriveKek, findKek, newPassphraseKdf, passphraseBytes, passphraseCheck } from '@keyturn/vault-kdf/passphrase'
import type { PassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import { readContents } from './contents.ts'
import type { Contents } from './contents.ts'
import { KeystoreError } from './errors.ts'
import { parseKeystoreHeader } from './keystore-file.ts'
import type { KeystoreHeader } from './keystore-file.ts'
import type { KeystoreStorage } from './storage.ts'

/**
 * A secret of 32 random bytes or more in place of a passphrase: of a keychain, an agent, a KMS. Nobody can guess it, so
 * a keystore made with it derives its key at once instead of slowly. It opens older keystores under the same bytes too.
 */
export interface RandomSecret {
  readonly randomSecret: Uint8Array
}

/**
 * What a keystore is under: a passphrase as text or bytes (one form of it counts, however it was typed or saved), or a
 * {@link RandomSecret}. Nothing of it is kept.
 */
export type Passphrase = string | Uint8Array | RandomSecret

const MIN_RANDOM_SECRET_BYTES = 32
const SALT_BYTES = 32

/** Refuses what can be no passphrase at all. @throws TypeError that names the argument. */
export function requirePassphrase(passphrase: Passphrase): void {
  const isSecret = typeof passphrase === 'object' && passphrase !== null && 'randomSecret' in passphrase
  if (typeof passphrase !== 'string' && !(passphrase instanceof Uint8Array) && !isSecret)
    throw new TypeError('passphrase must be a string, a Uint8Array or a random secret')
}

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

/**
 * How the key of a new keystore is derived: slowly from a passphrase, at once from a random secret.
 *
 * @throws RangeError for a random secret of fewer than 32 bytes.
 */
export function newKdf(passphrase: Passphrase, random: RandomSource, scryptLogN: number | undefined): PassphraseKdf {
  if (!isRandomSecret(passphrase)) return newPassphraseKdf(random, scryptLogN)
  const { length } = passphrase.randomSecret
  if (length < MIN_RANDOM_SECRET_BYTES)
    throw new RangeError(`A random secret has at least ${MIN_RANDOM_SECRET_BYTES} bytes, got ${length}`)
  return { algorithm: 'hkdf-sha256', salt: random(SALT_BYTES) }
}

/** The key for what is written. @throws RangeError for an empty passphrase. */
export function kekOf(passphrase: Passphrase, kdf: PassphraseKdf): SecretBytes {
  const bytes = isRandomSecret(passphrase) ? new Uint8Array(passphrase.randomSecret) : passphraseBytes(passphrase)
  try {
    if (bytes.length === 0) throw new RangeError('The passphrase is empty')
    return SecretBytes.take(deriveKek(bytes, kdf))
  } finally {
    wipe(bytes)
  }
}

function isRandomSecret(passphrase: Passphrase): passphrase is RandomSecret {
  return typeof passphrase === 'object' && 'randomSecret' in passphrase
}

/** The key that opens a file, whichever form of the passphrase it was made with. */
function openingKek(passphrase: Passphrase, { kdf, check }: KeystoreHeader): SecretBytes {
  const given = isRandomSecret(passphrase) ? passphrase.randomSecret : passphrase
  if (given.length === 0) throw new RangeError('The passphrase is empty')
  const kek = findKek(given, kdf, (key) => equalBytes(check, passphraseCheck(key)))
  if (kek === undefined) throw new KeystoreError('KEY_PASSPHRASE', 'The passphrase does not open the keystore')
  return SecretBytes.take(kek)
}

function openGeneration(bytes: Uint8Array, passphrase: Passphrase): Omit<OpenedKeystore, 'recovery'> {
  const kek = openingKek(passphrase, parseKeystoreHeader(bytes))
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
