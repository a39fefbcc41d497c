import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import { KeystoreError } from '../errors.ts'

/** Who can open an age file: recipients (`age1…`), or anyone with a passphrase. */
export type AgeReceivers =
  | { readonly recipients: readonly string[]; readonly passphrase?: undefined }
  | { readonly passphrase: string; readonly recipients?: undefined }

/** What opens an age file: identities (`AGE-SECRET-KEY-1…`), or its passphrase. */
export type AgeKeys =
  | { readonly identities: readonly string[]; readonly passphrase?: undefined }
  | { readonly passphrase: string; readonly identities?: undefined }

/** How an age file is written. */
export interface AgeFileOptions {
  /** Text between lines of dashes instead of bytes; default `false`. */
  readonly armor?: boolean | undefined
  /** Cost of a passphrase, log2 of scrypt's N; default 18, which takes seconds. Tests use fewer. */
  readonly scryptLogN?: number | undefined
}

const ARMOR_START = utf8Encode('-----BEGIN AGE')

/** The library, which applications install when they use it. @throws KeystoreError `KEY_AGE_MISSING`. */
async function library(): Promise<typeof import('age-encryption')> {
  try {
    return await import('age-encryption')
  } catch (cause) {
    throw new KeystoreError('KEY_AGE_MISSING', 'Cannot use age: the package age-encryption is not installed', {
      cause,
      hint: 'Install it: npm install age-encryption',
    })
  }
}

function checkOne(given: Readonly<Record<string, unknown>> | undefined, name: string, list: string): void {
  const { [list]: names, passphrase } = given ?? {}
  if ((names === undefined) === (passphrase === undefined))
    throw new TypeError(`${name} must have either ${list} or a passphrase`)
  if (passphrase !== undefined && (typeof passphrase !== 'string' || passphrase === ''))
    throw new TypeError(`${name}.passphrase must be text, and not empty`)
  if (names !== undefined && (!Array.isArray(names) || names.length === 0))
    throw new TypeError(`${name}.${list} must be an array of at least one`)
}

/**
 * Encrypts bytes for age.
 *
 * @throws TypeError for receivers that age does not know; KeystoreError `KEY_AGE_MISSING`.
 */
export async function writeAge(
  plaintext: Uint8Array,
  receivers: AgeReceivers,
  { armor = false, scryptLogN }: AgeFileOptions,
): Promise<Uint8Array> {
  checkOne(receivers, 'receivers', 'recipients')
  const age = await library()
  const encrypter = new age.Encrypter()
  if (receivers.passphrase !== undefined) {
    encrypter.setPassphrase(receivers.passphrase)
    if (scryptLogN !== undefined) encrypter.setScryptWorkFactor(scryptLogN)
  }
  for (const recipient of receivers.recipients ?? []) {
    try {
      encrypter.addRecipient(recipient)
    } catch (cause) {
      throw new TypeError('receivers.recipients must hold recipients of age, which begin with age1', { cause })
    }
  }
  const file = await encrypter.encrypt(plaintext)
  return armor ? utf8Encode(age.armor.encode(file)) : file
}

/**
 * Opens an age file, armored or not.
 *
 * @returns Its bytes, which the caller wipes.
 * @throws KeystoreError `KEY_AGE`, `KEY_AGE_MISSING`; TypeError for keys that age does not know.
 */
export async function readAge(file: Uint8Array, keys: AgeKeys): Promise<Uint8Array> {
  checkOne(keys, 'keys', 'identities')
  const age = await library()
  const decrypter = new age.Decrypter()
  if (keys.passphrase !== undefined) decrypter.addPassphrase(keys.passphrase)
  for (const identity of keys.identities ?? []) {
    try {
      decrypter.addIdentity(identity)
    } catch {
      // The error of the library may quote the identity, which is a secret.
      throw new TypeError('keys.identities must hold identities of age, which begin with AGE-SECRET-KEY-')
    }
  }
  try {
    const isArmored = ARMOR_START.every((byte, index) => file[index] === byte)
    return await decrypter.decrypt(isArmored ? age.armor.decode(utf8Decode(file)) : file)
  } catch (cause) {
    throw new KeystoreError('KEY_AGE', 'The age file does not open', { cause })
  }
}
