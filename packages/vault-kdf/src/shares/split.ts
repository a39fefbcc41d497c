import { base64urlEncode, equalBytes, hexDecode, systemRandom, utf8Encode, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { combine, split } from 'shamir-secret-sharing'
import { VaultError } from '../errors.ts'
import { KEY_BYTES } from '../limits.ts'
import { checkOf, readShare, writeShare } from './share.ts'
import type { KeyShare, SecretShare } from './share.ts'

/** Options of {@link splitSecret}. */
export interface SplitOptions {
  /** How many shares give the secret, 2 to 255. */
  readonly threshold: number
  /** How many are made, up to 255. */
  readonly shares: number
  /** For the id of the set; the shares themselves use the system's randomness. */
  readonly random?: RandomSource | undefined
}

/** What {@link combineShares} gives. */
export interface CombinedShares {
  /** 32 bytes; the caller wipes them. */
  readonly secret: Uint8Array
  readonly setId: string
}

/**
 * Splits a random secret so that any `threshold` of the shares give it, and fewer tell nothing about it: Shamir's
 * scheme over GF(2⁸), docs/spec/vault-kdf.md §15.
 *
 * @param secret - 32 random bytes, never a passphrase that somebody thought of; not modified.
 * @returns One line of text a share.
 * @throws RangeError for another length, threshold or number.
 */
export async function splitSecret(
  secret: Uint8Array,
  { threshold, shares, random = systemRandom }: SplitOptions,
): Promise<string[]> {
  if (secret.length !== KEY_BYTES)
    throw new RangeError(`The secret to split has ${secret.length} bytes, expected ${KEY_BYTES}`)
  const whole = Number.isInteger(threshold) && Number.isInteger(shares)
  if (!whole || threshold < 2 || threshold > shares || shares > 255)
    throw new RangeError(`Shares must be 2 to 255, and the threshold 2 to their number; got ${threshold} of ${shares}`)
  const setId = random(8)
  const check = checkOf(secret, setId)
  const copy = new Uint8Array(secret) // the library wants a plain Uint8Array, and no subclass
  const points = await split(copy, shares, threshold)
  wipe(copy)
  const texts = points.map((point, index) => writeShare(setId, { threshold, shares, number: index + 1, check, point }))
  wipe(...points)
  return texts
}

/** What a share says of itself; nothing of it is proved. @throws VaultError `VK_SHARE`. */
export function describeShare(text: string): KeyShare {
  const { setId, threshold, shares, number, point } = readShare(text)
  wipe(point)
  return { setId, threshold, shares, number }
}

/**
 * Puts shares together and checks what they give.
 *
 * @param texts - In any order; the same share twice counts once.
 * @throws VaultError `VK_SHARE` (one cannot be read), `VK_SHARE_SET` (of two sets), `VK_SHARES_MISSING` (too few;
 * `details.found`, `details.expected`), `VK_SHARE_SECRET` (one was changed on purpose).
 */
export async function combineShares(texts: readonly string[]): Promise<CombinedShares> {
  const all = texts.map(readShare)
  try {
    const [first] = all
    if (first === undefined) throw missing(0, 2)
    const stranger = all.find((share) => !sameSet(first, share))
    if (stranger !== undefined)
      throw new VaultError('VK_SHARE_SET', `The shares are of two sets, ${first.setId} and ${stranger.setId}`, {
        details: { one: first.setId, other: stranger.setId },
      })
    const points = distinct(all)
    if (points.length < first.threshold) throw missing(points.length, first.threshold)
    const secret = await combine(points)
    if (equalBytes(checkOf(secret, hexDecode(first.setId)), first.check)) return { secret, setId: first.setId }
    wipe(secret)
    throw new VaultError('VK_SHARE_SECRET', 'The shares do not give the secret of their set: one of them was changed')
  } finally {
    wipe(...all.map(({ point }) => point))
  }
}

/** A secret of shares as a passphrase: for key files and backups that are opened by shares. The caller wipes it. */
export function sharedPassphrase(secret: Uint8Array): Uint8Array {
  return utf8Encode(base64urlEncode(secret))
}

function sameSet(a: SecretShare, b: SecretShare): boolean {
  return a.setId === b.setId && a.threshold === b.threshold && a.shares === b.shares && equalBytes(a.check, b.check)
}

/** By place on the polynomial: two shares at one place would make the library divide by zero. */
function distinct(shares: readonly SecretShare[]): Uint8Array[] {
  const points = new Map<number, Uint8Array>()
  for (const { point } of shares) {
    const place = point.at(-1) ?? 0
    const found = points.get(place)
    if (place === 0 || (found !== undefined && !equalBytes(found, point)))
      throw new VaultError('VK_SHARE_SECRET', 'Two shares contradict each other: one of them was changed')
    points.set(place, point)
  }
  return [...points.values()]
}

function missing(found: number, expected: number): VaultError {
  return new VaultError('VK_SHARES_MISSING', `${found} different shares were given, expected ${expected}`, {
    details: { found, expected },
  })
}
