import { base64Decode, base64Encode, requireText } from '@keyturn/primitives'
import { NoiseKeysError } from './errors.ts'
import { canonicalX25519PublicKey } from './public-key.ts'

/** Life of a key as its owner states it. */
export type KeyState = 'next' | 'active' | 'retiring' | 'revoked'
/** Why a key is no longer active. */
export type RevocationReason = 'compromise' | 'lost' | 'superseded' | 'retired' | 'unspecified'

/** The plain record of the guide: a bound key, and hints nobody signed. */
export interface PlainKeyRecord {
  readonly format: 'plain'
  readonly publicKey: Uint8Array
  /** Binding signature, 64 bytes; absent from drafts and from our revoked records. */
  readonly bindingSignature?: Uint8Array
  /** Unix seconds; unsigned, so it counts toward distrust only. */
  readonly timestampS?: number
  /** A revocation flag was found, in whatever spelling; it is obeyed, its absence proves nothing. */
  readonly revoked: boolean
}

/** Our record: the guide's, with state under a second signature. docs/spec/noise-keys.md §3 */
export interface StatefulKeyRecord {
  readonly format: 'stateful'
  readonly publicKey: Uint8Array
  readonly bindingSignature?: Uint8Array
  readonly timestampS: number
  /** Grows by one with each record of this device; 1 to 2^53 - 1. */
  readonly sequence: number
  /** Unix seconds after which readers refuse the record. */
  readonly expiresS: number
  readonly state: KeyState
  /** For `retiring`: Unix seconds until which the key still answers. */
  readonly retiringUntilS?: number
  readonly reason?: RevocationReason
  /** SHA-256 of the next public key, committed to beforehand. */
  readonly nextKeySha256?: Uint8Array
}

/** A record of either kind. */
export type KeyRecord = PlainKeyRecord | StatefulKeyRecord

/** A record as it was read: its fields, and the literal text that signatures are about. */
export type ParsedKeyRecord =
  | (PlainKeyRecord & { readonly text: string })
  | (StatefulKeyRecord & { readonly text: string; readonly signedText: string; readonly recordSignature: Uint8Array })

/** Longest text that is read as a record. */
export const MAX_RECORD_BYTES = 1024
/** A record lives at most this long. */
export const MAX_RECORD_LIFE_S = 366 * 86_400

const STATES: readonly KeyState[] = ['next', 'active', 'retiring', 'revoked']
const REASONS: readonly RevocationReason[] = ['compromise', 'lost', 'superseded', 'retired', 'unspecified']
const KEY_BYTES = 32
const SIGNATURE_BYTES = 64

/**
 * Writes a record: a plain one in whole, a stateful one up to its second signature (`T` of docs/spec/noise-keys.md §3),
 * which `signKeyRecord` appends. Old readers skip the fields they do not know.
 *
 * @throws {@link NoiseKeysError} `NK_RECORD` where the fields contradict each other.
 */
export function formatKeyRecord(record: KeyRecord): string {
  const head = [
    ['v', '1'],
    ['k', base64Encode(record.publicKey)],
  ]
  const bound = record.bindingSignature === undefined ? [] : [['sig', base64Encode(record.bindingSignature)]]
  const tail = record.format === 'plain' ? plainTail(record) : statefulTail(record)
  return [...head, ...bound, ...tail].map(([name, value]) => `${name}=${value}`).join(';')
}

function plainTail(record: PlainKeyRecord): string[][] {
  const timestamp = record.timestampS === undefined ? [] : [['ts', String(record.timestampS)]]
  return record.revoked ? [...timestamp, ['revoked', 'true']] : timestamp
}

function statefulTail(record: StatefulKeyRecord): string[][] {
  assertConsistent(record)
  const { timestampS, sequence, expiresS, state, retiringUntilS, reason, nextKeySha256 } = record
  return [
    ['ts', String(timestampS)],
    ['seq', String(sequence)],
    ['exp', String(expiresS)],
    ['st', state],
    ...(retiringUntilS === undefined ? [] : [['rt', String(retiringUntilS)]]),
    ...(reason === undefined ? [] : [['why', reason]]),
    ...(nextKeySha256 === undefined ? [] : [['next', base64Encode(nextKeySha256)]]),
    ...(state === 'revoked' ? [['revoked', 'true']] : []),
  ]
}

/** Rules that hold between the fields of a stateful record, for writer and reader alike. */
function assertConsistent(record: StatefulKeyRecord): void {
  const { timestampS, sequence, expiresS, state, retiringUntilS, reason, bindingSignature } = record
  const numbers = [timestampS, sequence, expiresS, ...(retiringUntilS === undefined ? [] : [retiringUntilS])]
  if (!numbers.every((value) => Number.isSafeInteger(value) && value >= 0) || sequence < 1)
    fail('a number is out of range')
  if (expiresS <= timestampS || expiresS > timestampS + MAX_RECORD_LIFE_S) fail('exp is not within 366 days after ts')
  if ((state === 'retiring') !== (retiringUntilS !== undefined)) fail('rt goes with st=retiring, and only with it')
  if (state === 'revoked' && reason === undefined) fail('st=revoked needs why')
  if (reason !== undefined && state !== 'revoked' && state !== 'retiring')
    fail('why goes with st=retiring and st=revoked')
  // Without a binding every old reader that verifies fails closed; with one it would go on using a revoked key.
  if ((state === 'revoked') !== (bindingSignature === undefined))
    fail('sig is left out exactly when the key is revoked')
}

/**
 * Reads a record, strictly: the old grammar for plain ones, the exact one for ours. Nothing is trusted yet.
 *
 * @throws {@link NoiseKeysError} `NK_RECORD` (`details.revoked` is 1 when a revocation flag was seen all the same),
 *   `NK_LOW_ORDER`.
 */
export function parseKeyRecord(text: string): ParsedKeyRecord {
  requireText(text, 'text')
  if (text.length > MAX_RECORD_BYTES) fail(`it has ${text.length} characters, at most ${MAX_RECORD_BYTES} are read`)
  const fields = splitFields(text)
  const record = fields.has('sig2') ? parseStateful(text, fields) : parsePlain(text, fields)
  canonicalX25519PublicKey(record.publicKey)
  return record
}

/** Splits at `;` and at the first `=`, as old readers do; a repeated name, which they resolve silently, is refused. */
function splitFields(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  let repeated = false
  let revoked = false
  for (const part of text.split(';')) {
    const at = part.indexOf('=')
    revoked ||= isRevocation(part)
    if (at < 0) continue
    const name = part.slice(0, at)
    repeated ||= fields.has(name)
    fields.set(name, part.slice(at + 1))
  }
  if (repeated) fail('a field is repeated', revoked)
  return fields
}

/** Sloppy writers must fail safe: ` Revoked=1`, a bare `revoked` and `St=REVOKED` all revoke. */
function isRevocation(part: string): boolean {
  const [name = '', value] = part.split(/=(.*)/s, 2).map((text) => text.trim().toLowerCase())
  return (name === 'revoked' && value !== 'false') || (name === 'st' && value === 'revoked')
}

function parsePlain(text: string, fields: ReadonlyMap<string, string>): ParsedKeyRecord {
  const revoked = text.split(';').some(isRevocation)
  if (fields.get('v') !== '1') fail('v is not 1', revoked)
  const signature = fields.get('sig')
  const timestamp = fields.get('ts')
  return {
    format: 'plain',
    publicKey: decode(fields.get('k'), 'k', KEY_BYTES),
    ...(signature === undefined ? {} : { bindingSignature: decode(signature, 'sig', SIGNATURE_BYTES) }),
    ...(timestamp === undefined ? {} : { timestampS: decimal(timestamp, 'ts') }),
    revoked,
    text,
  }
}

const STATEFUL_GRAMMAR = new RegExp(
  '^v=1;k=([^;]*)(?:;sig=([^;]*))?;ts=([^;]*);seq=([^;]*);exp=([^;]*);st=([^;]*)' +
    '(?:;rt=([^;]*))?(?:;why=([^;]*))?(?:;next=([^;]*))?(;revoked=true)?;sig2=([^;]*)$',
)

function parseStateful(text: string, fields: ReadonlyMap<string, string>): ParsedKeyRecord {
  const match = STATEFUL_GRAMMAR.exec(text)
  if (match === null) fail('fields are missing, unknown or out of order', fields.get('st') === 'revoked')
  const [, key, sig, ts = '', seq = '', exp = '', st = '', rt, why, next, flag, sig2] = match
  const record: StatefulKeyRecord = {
    format: 'stateful',
    publicKey: decode(key, 'k', KEY_BYTES),
    ...(sig === undefined ? {} : { bindingSignature: decode(sig, 'sig', SIGNATURE_BYTES) }),
    timestampS: decimal(ts, 'ts'),
    sequence: decimal(seq, 'seq'),
    expiresS: decimal(exp, 'exp'),
    state: oneOf(STATES, st, 'st'),
    ...(rt === undefined ? {} : { retiringUntilS: decimal(rt, 'rt') }),
    ...(why === undefined ? {} : { reason: oneOf(REASONS, why, 'why') }),
    ...(next === undefined ? {} : { nextKeySha256: decode(next, 'next', KEY_BYTES) }),
  }
  assertConsistent(record)
  if ((record.state === 'revoked') !== (flag !== undefined)) fail('revoked=true goes with st=revoked, and only with it')
  const signedText = text.slice(0, text.lastIndexOf(';sig2='))
  return { ...record, text, signedText, recordSignature: decode(sig2, 'sig2', SIGNATURE_BYTES) }
}

function decode(value: string | undefined, name: string, length: number): Uint8Array {
  let bytes: Uint8Array | undefined
  try {
    bytes = value === undefined ? undefined : base64Decode(value)
  } catch {
    bytes = undefined
  }
  if (bytes?.length !== length) fail(`${name} is not ${length} bytes in padded base64`)
  return bytes
}

/** One spelling per number: no sign, no leading zero. */
function decimal(value: string, name: string): number {
  const number = /^(?:0|[1-9][0-9]{0,15})$/.test(value) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(number)) fail(`${name} is not a decimal number`)
  return number
}

function oneOf<Word extends string>(words: readonly Word[], value: string, name: string): Word {
  const word = words.find((candidate) => candidate === value)
  if (word === undefined) fail(`${name} is none of ${words.join(', ')}`)
  return word
}

function fail(problem: string, revoked = false): never {
  throw new NoiseKeysError(
    'NK_RECORD',
    `Cannot read key record: ${problem}`,
    revoked ? { details: { revoked: 1 } } : {},
  )
}
