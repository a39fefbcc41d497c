import {
  deriveKek,
  newPassphraseKdf,
  parsePassphraseKdf,
  passphraseBytes,
  writePassphraseKdf,
} from '@keyturn/vault-kdf/passphrase'
import type { PassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import {
  base64Decode,
  base64Encode,
  concatBytes,
  equalBytes,
  hmacSha256,
  openXChaCha20Poly1305,
  sealXChaCha20Poly1305,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { JsonObject, RandomSource } from '@keyturn/primitives'
import { ShapeError } from '../storage/shape.ts'

const NONCE_BYTES = 24
const PURPOSE = utf8Encode('keyturn server vault, second passphrase, 1')

/** The passphrase that a vault was made with, sealed under another one, which so opens it too. */
export interface SecondPassphrase {
  /** How the second passphrase becomes a key. */
  readonly kdf: PassphraseKdf
  /** Nonce of 24 bytes, then the first passphrase under XChaCha20-Poly1305. */
  readonly sealed: Uint8Array
  /** Says under the first passphrase which second one this is: nobody else can compare it with a guess. */
  readonly mark: Uint8Array
}

/** Both passphrases, and the key that the first one opens its vault with. */
export interface PassphrasePair {
  readonly first: Uint8Array
  readonly firstKek: Uint8Array
  readonly second: Uint8Array
}

function markOf({ firstKek, second }: Pick<PassphrasePair, 'firstKek' | 'second'>): Uint8Array {
  const form = passphraseBytes(second)
  const mark = hmacSha256(firstKek, PURPOSE, form)
  wipe(form)
  return mark
}

/** Whether the record is of this second passphrase; costs no scrypt. */
export function isOfSecond({ mark }: SecondPassphrase, pair: Pick<PassphrasePair, 'firstKek' | 'second'>): boolean {
  return equalBytes(mark, markOf(pair))
}

/**
 * Seals the first passphrase under the second.
 *
 * @param scryptLogN - As in the settings of the vault; default 17.
 */
export function sealSecond(
  pair: PassphrasePair,
  random: RandomSource,
  scryptLogN: number | undefined,
): SecondPassphrase {
  const kdf = newPassphraseKdf(random, scryptLogN)
  const form = passphraseBytes(pair.second)
  const kek = deriveKek(form, kdf)
  const nonce = random(NONCE_BYTES)
  try {
    const sealed = sealXChaCha20Poly1305(kek, nonce, pair.first, { aad: PURPOSE })
    return { kdf, sealed: concatBytes(nonce, sealed), mark: markOf(pair) }
  } finally {
    wipe(kek, form)
  }
}

/**
 * The first passphrase, which the caller wipes; undefined when `second` is not the second passphrase.
 *
 * @param second - One form of the passphrase, as bytes.
 */
export function openSecond({ kdf, sealed }: SecondPassphrase, second: Uint8Array): Uint8Array | undefined {
  const kek = deriveKek(second, kdf)
  try {
    return openXChaCha20Poly1305(kek, sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES), { aad: PURPOSE })
  } catch {
    return undefined
  } finally {
    wipe(kek)
  }
}

/** As it is stored. */
export function writeSecond({ kdf, sealed, mark }: SecondPassphrase): JsonObject {
  return { kdf: { ...writePassphraseKdf(kdf) }, sealed: base64Encode(sealed), mark: base64Encode(mark) }
}

/**
 * Reads what {@link writeSecond} made.
 *
 * @throws ShapeError, VaultError for parameters that no reader accepts.
 */
export function parseSecond({ kdf, sealed, mark }: JsonObject): SecondPassphrase {
  if (typeof sealed !== 'string' || typeof mark !== 'string' || kdf === undefined)
    throw new ShapeError('', 'kdf, sealed and mark')
  return { kdf: parsePassphraseKdf(kdf), sealed: base64Decode(sealed), mark: base64Decode(mark) }
}
