import { base64Decode, base64Encode, hkdfSha256, scrypt, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { argon2id } from '@noble/hashes/argon2.js'
import { VaultError } from './errors.ts'
import { passphraseForms } from './passphrase-forms.ts'
import { labels } from './labels.ts'
import { lengthPrefixed } from './length-prefixed.ts'
import { KEY_BYTES } from './limits.ts'

/** How a passphrase becomes a key; kept in clear beside what it protects. */
export type PassphraseKdf =
  | {
      readonly algorithm: 'scrypt'
      readonly logN: number
      readonly r: number
      readonly p: number
      readonly salt: Uint8Array
    }
  /** Read, never written: files of others. */
  | {
      readonly algorithm: 'argon2id'
      readonly memoryKiB: number
      readonly passes: number
      readonly lanes: number
      readonly salt: Uint8Array
    }
  /** For a secret of 32 random bytes or more, which nobody can guess: slowness would buy nothing. */
  | { readonly algorithm: 'hkdf-sha256'; readonly salt: Uint8Array }

/** What is written: N 2^17, r 8, p 1 (128 MiB, about a third of a second). */
export const defaultScryptLogN = 17
const MAX_LOG_N = 20
const SALT_BYTES = 32
const scryptR = 8
const scryptP = 1
const maxArgon = { memoryKiB: 1024 * 1024, passes: 16, lanes: 16 }

/** Fresh scrypt parameters. @param logN - Lower it in tests only. */
export function newPassphraseKdf(random: RandomSource, logN: number = defaultScryptLogN): PassphraseKdf {
  if (!Number.isInteger(logN) || logN < 1 || logN > MAX_LOG_N)
    throw new RangeError(`scryptLogN ${logN} is not 1 to ${MAX_LOG_N}`)
  return { algorithm: 'scrypt', logN, r: scryptR, p: scryptP, salt: random(SALT_BYTES) }
}

/**
 * Derives the 32-byte key-encryption key of a passphrase; slow on purpose. The caller wipes it.
 *
 * @throws VaultError `VK_LIMIT` when a file asks for more work than a reader gives.
 */
export function deriveKek(passphrase: Uint8Array, kdf: PassphraseKdf): Uint8Array {
  checkKdf(kdf)
  if (kdf.algorithm === 'hkdf-sha256')
    return hkdfSha256(passphrase, kdf.salt, lengthPrefixed(labels.randomSecret), KEY_BYTES)
  if (kdf.algorithm === 'scrypt') {
    return scrypt(passphrase, kdf.salt, { N: 2 ** kdf.logN, r: kdf.r, p: kdf.p, length: KEY_BYTES })
  }
  return argon2id(passphrase, kdf.salt, { m: kdf.memoryKiB, t: kdf.passes, p: kdf.lanes, dkLen: KEY_BYTES })
}

/**
 * Derives the key from each form of a passphrase until one is right: the form of today first, then those that earlier
 * versions made of the same input. ASCII has one form only.
 *
 * @param isRight - Compares the key with what the file says; {@link passphraseCheck}.
 * @returns The right key, which the caller wipes; `undefined` when no form is right.
 */
export function findKek(
  passphrase: string | Uint8Array,
  kdf: PassphraseKdf,
  isRight: (kek: Uint8Array) => boolean,
): Uint8Array | undefined {
  const forms = passphraseForms(passphrase)
  try {
    for (const form of forms) {
      const kek = deriveKek(form, kdf)
      if (isRight(kek)) return kek
      wipe(kek)
    }
    return undefined
  } finally {
    wipe(...forms)
  }
}

/** 32 bytes that tell a right passphrase from a wrong one before anything else is touched; public. */
export function passphraseCheck(kek: Uint8Array): Uint8Array {
  return hkdfSha256(kek, new Uint8Array(0), lengthPrefixed(labels.passphraseCheck), KEY_BYTES)
}

function checkKdf(kdf: PassphraseKdf): void {
  const fine =
    kdf.algorithm === 'hkdf-sha256' ||
    (kdf.algorithm === 'scrypt'
      ? within(kdf.logN, 1, MAX_LOG_N) && within(kdf.r, 1, 16) && within(kdf.p, 1, 4)
      : within(kdf.memoryKiB, 8 * kdf.lanes, maxArgon.memoryKiB) &&
        within(kdf.passes, 1, maxArgon.passes) &&
        within(kdf.lanes, 1, maxArgon.lanes))
  if (fine && within(kdf.salt.length, 8, 64)) return
  throw new VaultError('VK_LIMIT', `The ${kdf.algorithm} parameters are out of bounds`, {
    hint:
      `scrypt: N up to 2^${MAX_LOG_N}, r up to 16, p up to 4; argon2id: up to 1 GiB, 16 passes, 16 lanes; salt ` +
      'of 8 to 64 bytes',
  })
}

function within(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max
}

/** The JSON form, for headers. */
export function writePassphraseKdf(kdf: PassphraseKdf): Record<string, JsonValue> {
  const salt = base64Encode(kdf.salt)
  if (kdf.algorithm === 'hkdf-sha256') return { algorithm: kdf.algorithm, salt }
  return kdf.algorithm === 'scrypt'
    ? { algorithm: kdf.algorithm, log_n: kdf.logN, r: kdf.r, p: kdf.p, salt }
    : { algorithm: kdf.algorithm, memory_kib: kdf.memoryKiB, passes: kdf.passes, lanes: kdf.lanes, salt }
}

/**
 * Reads the JSON form; bounds are checked, so that a hostile header cannot ask for a day of work.
 *
 * @throws VaultError `VK_FORMAT`, `VK_LIMIT`.
 */
export function parsePassphraseKdf(value: JsonValue | undefined): PassphraseKdf {
  const kdf = shape(value)
  checkKdf(kdf)
  return kdf
}

function shape(value: JsonValue | undefined): PassphraseKdf {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && typeof value['salt'] === 'string') {
    const number = (key: string): number => (typeof value[key] === 'number' ? value[key] : Number.NaN)
    const salt = base64Decode(value['salt'])
    if (value['algorithm'] === 'hkdf-sha256') return { algorithm: 'hkdf-sha256', salt }
    if (value['algorithm'] === 'scrypt')
      return { algorithm: 'scrypt', logN: number('log_n'), r: number('r'), p: number('p'), salt }
    if (value['algorithm'] === 'argon2id') {
      return {
        algorithm: 'argon2id',
        memoryKiB: number('memory_kib'),
        passes: number('passes'),
        lanes: number('lanes'),
        salt,
      }
    }
  }
  throw new VaultError('VK_FORMAT', 'The key derivation of the header is not scrypt, argon2id or hkdf-sha256')
}
