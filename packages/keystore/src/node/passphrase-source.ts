import { readFileSync } from 'node:fs'
import { wipe } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import { passphraseInput } from '@keyturn/vault-kdf/passphrase'
import { KeystoreError } from '../errors.ts'

/**
 * The passphrase in a file, which holds it alone: one line of UTF-8, with or without line end and byte order mark. The
 * caller wipes it.
 *
 * @throws KeystoreError `KEY_IO`.
 */
export function readPassphraseFile(path: string): Uint8Array {
  return readPassphrase(path, `"${path}"`)
}

/** The passphrase on an open descriptor, read to its end; as {@link readPassphraseFile}. The caller wipes it. */
export function readPassphraseFd(descriptor: number): Uint8Array {
  return readPassphrase(descriptor, `descriptor ${descriptor}`)
}

function readPassphrase(source: string | number, where: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(source)
  } catch (cause) {
    throw new KeystoreError('KEY_IO', `Cannot read the passphrase from ${where}`, { cause })
  }
  try {
    return passphraseInput(bytes)
  } catch (cause) {
    if (!(cause instanceof VaultError)) throw cause
    const { details, hint } = cause
    throw new KeystoreError('KEY_IO', `Cannot read the passphrase from ${where}: ${cause.message}`, {
      cause,
      details,
      hint,
    })
  } finally {
    wipe(bytes)
  }
}
