import {
  PrimitivesError,
  Reader,
  Writer,
  equalBytes,
  hexEncode,
  hkdfSha256,
  sha256,
  z32Decode,
  z32Encode,
} from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { labels } from '../labels.ts'
import { lengthPrefixed } from '../length-prefixed.ts'
import { KEY_BYTES } from '../limits.ts'

// offset  size  field                                                       docs/spec/vault-kdf.md §15
//  0       1    format 01
//  1       8    id of the set, random
//  9       1    threshold, 2 to 255
// 10       1    shares in the set, up to 255
// 11       1    number of this one, from 1
// 12       8    check of the secret
// 20      33    the share: 32 bytes, and the place on the polynomial
// 53       4    checksum: the first bytes of SHA-256 of all before
const FORMAT = 1
const ID_BYTES = 8
const CHECK_BYTES = 8
const SUM_BYTES = 4
const POINT_BYTES = KEY_BYTES + 1
const BODY_BYTES = 4 + ID_BYTES + CHECK_BYTES + POINT_BYTES
const PREFIX = 'ktshare1'
/** Longest text that is read as a share; one has 111 characters. */
const MAX_TEXT = 1_000

/** What a share says of itself and of its set. */
export interface KeyShare {
  /** Of the set, 16 hex digits: shares of two sets do not go together. */
  readonly setId: string
  /** How many shares of the set give the secret. */
  readonly threshold: number
  /** How many there are. */
  readonly shares: number
  /** Which one this is, from 1. */
  readonly number: number
}

/** A share with what is secret in it. */
export interface SecretShare extends KeyShare {
  readonly check: Uint8Array
  readonly point: Uint8Array
}

/** 8 bytes by which a secret is recognised; of a random secret of 32 bytes they tell nothing. */
export function checkOf(secret: Uint8Array, setId: Uint8Array): Uint8Array {
  return hkdfSha256(secret, setId, lengthPrefixed(labels.shareCheck), KEY_BYTES).slice(0, CHECK_BYTES)
}

/** A share as a line of text: groups of five, to be read aloud or typed. */
export function writeShare(setId: Uint8Array, share: Omit<SecretShare, 'setId'>): string {
  const body = new Writer(BODY_BYTES)
    .u8(FORMAT)
    .bytes(setId)
    .u8(share.threshold)
    .u8(share.shares)
    .u8(share.number)
    .bytes(share.check)
    .bytes(share.point)
    .finish()
  const text = z32Encode(new Writer(BODY_BYTES + SUM_BYTES).bytes(body).bytes(sumOf(body)).finish())
  return [PREFIX, ...(text.match(/.{1,5}/g) ?? [])].join('-')
}

const sumOf = (body: Uint8Array): Uint8Array => sha256(body).subarray(0, SUM_BYTES)

/** Reads a share; upper case, spaces, line ends and missing hyphens do not matter. @throws VaultError `VK_SHARE`. */
export function readShare(text: string): SecretShare {
  const compact = text.slice(0, MAX_TEXT).toLowerCase().replaceAll(/[\s-]/g, '')
  if (!compact.startsWith(PREFIX)) throw damaged(`it does not begin with "${PREFIX}"`)
  try {
    const bytes = z32Decode(compact.slice(PREFIX.length))
    if (bytes.length !== BODY_BYTES + SUM_BYTES) throw damaged('something is missing, or it is too long')
    const body = bytes.subarray(0, BODY_BYTES)
    if (!equalBytes(bytes.subarray(BODY_BYTES), sumOf(body))) throw damaged('its checksum does not fit')
    const reader = new Reader(body)
    if (reader.u8('format') !== FORMAT) throw damaged('it is of another version')
    const share = {
      setId: hexEncode(reader.bytes(ID_BYTES, 'set')),
      threshold: reader.u8('threshold', { min: 2 }),
      shares: reader.u8('shares'),
      number: reader.u8('number', { min: 1 }),
      check: reader.bytes(CHECK_BYTES, 'check').slice(),
      point: reader.bytes(POINT_BYTES, 'point').slice(),
    }
    if (share.threshold > share.shares || share.number > share.shares) throw damaged('its numbers do not fit')
    return share
  } catch (cause) {
    if (cause instanceof PrimitivesError) throw damaged('a character is wrong', cause)
    throw cause
  }
}

function damaged(why: string, cause?: unknown): VaultError {
  return new VaultError('VK_SHARE', `Cannot read the share: ${why}`, { cause })
}
