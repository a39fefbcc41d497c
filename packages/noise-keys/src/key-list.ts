import {
  base64Decode,
  base64Encode,
  canonicalJson,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  hexEncode,
  parseStrictJson,
  sha256,
  utf8Decode,
  utf8Encode,
  z32Encode,
} from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { NoiseKeysError } from './errors.ts'
import { LABELS } from './labels.ts'
import { signingBytes } from './record-signature.ts'
import type { KeyState, RevocationReason } from './record.ts'

/** A device in the list. */
export interface KeyListEntry {
  readonly device: string
  /** X25519 public key, padded base64. */
  readonly k: string
  readonly state: Exclude<KeyState, 'revoked'>
  /** Unix seconds from which the key is, or will be, active. */
  readonly from: number
  /** For `retiring`: Unix seconds until which it answers. */
  readonly until?: number
  /** SHA-256 of the device's record, hex. */
  readonly record: string
}

/** A key that must never be accepted again. */
export interface Tombstone {
  readonly k: string
  readonly why: RevocationReason
  /** Unix seconds. */
  readonly at: number
  /** Unix seconds after which no record of the key can still be valid: its last `exp` and 30 days. */
  readonly until: number
}

/** All keys of an identity, docs/spec/noise-keys.md §4. */
export interface KeyList {
  /** Name of the identity, z-base-32. */
  readonly identity: string
  readonly seq: number
  readonly ts: number
  readonly exp: number
  /** SHA-256 of the list before, hex; null for the first. */
  readonly prev: string | null
  readonly entries: readonly KeyListEntry[]
  readonly tombstones: readonly Tombstone[]
}

/** A list as it was read. */
export interface VerifiedKeyList {
  readonly list: KeyList
  /** SHA-256 of the whole file. */
  readonly sha256: Uint8Array
  readonly bytes: Uint8Array
}

/** The longest list that is accepted. */
export const MAX_KEY_LIST_BYTES = 262_144
/** Days a tombstone outlives the last record of its key. */
export const TOMBSTONE_GRACE_S = 30 * 86_400

const TYPE = 'keyturn.noise-keys'
const SIGNATURE_LINE = '\nsig2='
const STATES = ['next', 'active', 'retiring']
const REASONS = ['compromise', 'lost', 'superseded', 'retired', 'unspecified']

/** The text under the list's signature: canonical JSON on one line. */
export function formatKeyList(list: KeyList): string {
  return canonicalJson({ type: TYPE, v: 1, ...list } as unknown as JsonValue)
}

/**
 * Writes and signs a list.
 *
 * @param seed - Ed25519 seed of the identity; neither kept nor modified.
 * @returns The file: JSON, line feed, signature, line feed.
 */
export function signKeyList(seed: Uint8Array, list: KeyList): Uint8Array {
  const text = formatKeyList(list)
  const signature = ed25519Sign(seed, signingBytes(LABELS.keyList, ed25519PublicKey(seed), '', text))
  return utf8Encode(`${text}${SIGNATURE_LINE}${base64Encode(signature)}\n`)
}

/**
 * Checks a list: signature over the literal bytes first, then its shape.
 *
 * @throws {@link NoiseKeysError} `NK_RECORD`, `NK_BINDING_SIGNATURE`.
 */
export function verifyKeyList(identity: Uint8Array, bytes: Uint8Array): VerifiedKeyList {
  if (bytes.length > MAX_KEY_LIST_BYTES) fail(`it has ${bytes.length} bytes, at most ${MAX_KEY_LIST_BYTES} are read`)
  const { text, signature } = splitSignature(bytes)
  if (!ed25519Verify(identity, signingBytes(LABELS.keyList, identity, '', text), signature)) {
    throw new NoiseKeysError(
      'NK_BINDING_SIGNATURE',
      'The signature of the key list does not verify under this identity',
    )
  }
  const list = parseList(text)
  if (list.identity !== z32Encode(identity)) fail('it names another identity')
  return { list, sha256: sha256(bytes), bytes: bytes.slice() }
}

function splitSignature(bytes: Uint8Array): { text: string; signature: Uint8Array } {
  try {
    const [text = '', line = '', ...rest] = utf8Decode(bytes).split('\n')
    if (rest.join('\n') !== '' || rest.length !== 1 || !line.startsWith('sig2='))
      fail('it is not one line of JSON and one of signature')
    return { text, signature: base64Decode(line.slice(5)) }
  } catch (error) {
    if (error instanceof NoiseKeysError) throw error
    throw new NoiseKeysError('NK_RECORD', 'Cannot read key list: it is damaged', { cause: error })
  }
}

function parseList(text: string): KeyList {
  let value: JsonValue
  try {
    value = parseStrictJson(utf8Encode(text), { maxBytes: MAX_KEY_LIST_BYTES, maxDepth: 4 })
  } catch (cause) {
    throw new NoiseKeysError('NK_RECORD', 'Cannot read key list: it is not strict JSON', { cause })
  }
  // A list has one spelling, and so one hash.
  if (canonicalJson(value) !== text) fail('it is not canonical JSON')
  const { type, v, ...list } = asObject(value)
  if (type !== TYPE || v !== 1) fail('its type or version is not supported')
  const whole = list as unknown as KeyList
  if (!isNumber(whole.seq) || whole.seq < 1 || !isNumber(whole.ts) || !isNumber(whole.exp) || whole.exp <= whole.ts)
    fail('seq, ts or exp is wrong')
  if (typeof whole.identity !== 'string' || !(whole.prev === null || isHash(whole.prev)))
    fail('identity or prev is wrong')
  if (!Array.isArray(whole.entries) || !whole.entries.every(isEntry)) fail('an entry is wrong')
  if (!Array.isArray(whole.tombstones) || !whole.tombstones.every(isTombstone)) fail('a tombstone is wrong')
  const devices = whole.entries.map(({ device }) => device)
  if (new Set(devices).size !== devices.length) fail('a device is listed twice')
  return whole
}

function isEntry(value: unknown): value is KeyListEntry {
  const { device, k, state, from, until, record } = asObject(value)
  return (
    typeof device === 'string' &&
    isKey(k) &&
    STATES.includes(state as string) &&
    isNumber(from) &&
    isHash(record) &&
    (state === 'retiring') === (until !== undefined) &&
    (until === undefined || isNumber(until))
  )
}

function isTombstone(value: unknown): value is Tombstone {
  const { k, why, at, until } = asObject(value)
  return isKey(k) && REASONS.includes(why as string) && isNumber(at) && isNumber(until)
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail('it holds something that is not an object')
  return value as Readonly<Record<string, unknown>>
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isHash(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
}

function isKey(value: unknown): boolean {
  try {
    return typeof value === 'string' && base64Decode(value).length === 32
  } catch {
    return false
  }
}

function fail(problem: string): never {
  throw new NoiseKeysError('NK_RECORD', `Cannot read key list: ${problem}`)
}

/** The anchor: which list is the newest, in one short TXT record of the signed packet. */
export interface KeyListAnchor {
  readonly seq: number
  /** SHA-256 of the list's file. */
  readonly listSha256: Uint8Array
  /** Unix seconds. */
  readonly ts: number
}

/** Writes an anchor: about 75 bytes, whatever the number of devices. */
export function formatAnchor({ seq, listSha256, ts }: KeyListAnchor): string {
  return `v=1;n=${seq};h=${base64Encode(listSha256)};ts=${ts}`
}

/** @throws {@link NoiseKeysError} `NK_RECORD`. */
export function parseAnchor(text: string): KeyListAnchor {
  const [, seq, hash = '', ts] =
    /^v=1;n=([1-9][0-9]{0,15});h=([A-Za-z0-9+/]{43}=);ts=(0|[1-9][0-9]{0,15})$/.exec(text) ?? []
  if (seq === undefined) throw new NoiseKeysError('NK_RECORD', 'Cannot read anchor: it is not in its grammar')
  try {
    return { seq: Number(seq), listSha256: base64Decode(hash), ts: Number(ts) }
  } catch (cause) {
    throw new NoiseKeysError('NK_RECORD', 'Cannot read anchor: its hash is not canonical base64', { cause })
  }
}

/** SHA-256 of a record's text, as a list's entry has it. */
export function recordSha256(text: string): string {
  return hexEncode(sha256(utf8Encode(text)))
}
