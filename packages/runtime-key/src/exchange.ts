import { concatBytes, Reader, sha256, utf8Encode, wipe, Writer } from '@keyturn/primitives'
import { parseRuntimeKeyBlobAndWipe, RUNTIME_KEY_BLOB_LENGTH, writeRuntimeKeyBlob } from './blob.ts'
import { RuntimeKeyError } from './errors.ts'
import type { RuntimeKeyErrorCode } from './errors.ts'
import { assertKeyId } from './runtime-key.ts'
import type { RuntimeKey } from './runtime-key.ts'

/** Handshake pattern of the exchange: NK without, IK with a device key. */
export type ExchangePattern = 'NK' | 'IK'

/** Full Noise protocol names of the exchange. */
export const EXCHANGE_PROTOCOLS: Readonly<Record<ExchangePattern, string>> = {
  NK: 'Noise_NK_25519_ChaChaPoly_SHA256',
  IK: 'Noise_IK_25519_ChaChaPoly_SHA256',
}
/** Bytes of the clear header in front of handshake message 1. */
export const EXCHANGE_HEADER_LENGTH = 12
/** Bytes of the payload of message 1. */
export const KEY_REQUEST_LENGTH = 37
/** Bytes of the payload of message 2. */
export const KEY_ANSWER_LENGTH = 92
/** Bytes of a whole request, by pattern. */
export const EXCHANGE_REQUEST_LENGTHS: Readonly<Record<ExchangePattern, number>> = { NK: 97, IK: 145 }
/** Bytes of a whole answer: the same for yes and no. */
export const EXCHANGE_ANSWER_LENGTH = 140

const VERSION = 1
const HINT_LENGTH = 8
const SHA256_LENGTH = 32
const PATTERN_CODES: Readonly<Record<ExchangePattern, number>> = { NK: 1, IK: 2 }
const PROLOGUE_LABEL = utf8Encode('keyturn-runtime-key-v1\0')

/** Status 1 to 5 of an answer, in this order. */
const REFUSALS = ['RK_RELEASE_UNKNOWN', 'RK_KEY_ID_UNKNOWN', 'RK_NOT_YET', 'RK_REFUSED', 'RK_UNAVAILABLE'] as const
/** Why a server hands out no key. */
export type ExchangeRefusal = (typeof REFUSALS)[number]

/** The clear header of a request. */
export interface ExchangeHeader {
  readonly pattern: ExchangePattern
  /** First 8 bytes of SHA-256 of the server's static key: which of its keys the client means. */
  readonly serverKeyHint: Uint8Array
}

/** What a client asks for. */
export interface KeyRequest {
  readonly keyId: number
  /** SHA-256 of the literal bytes of the manifest. */
  readonly manifestSha256: Uint8Array
}

/** What a server answers. */
export type KeyAnswer =
  | { readonly runtimeKey: RuntimeKey }
  | { readonly refusal: ExchangeRefusal; readonly retryAfterS?: number }

/** @returns The 8-byte hint of a server's static X25519 key. */
export function serverKeyHint(serverStatic: Uint8Array): Uint8Array {
  return sha256(serverStatic).slice(0, HINT_LENGTH)
}

/** @returns The 12-byte header: version, pattern, zero u16, hint. */
export function writeExchangeHeader(header: ExchangeHeader): Uint8Array {
  if (header.serverKeyHint.length !== HINT_LENGTH) throw new RangeError('serverKeyHint: wanted 8 bytes')
  return new Writer(EXCHANGE_HEADER_LENGTH)
    .u8(VERSION)
    .u8(PATTERN_CODES[header.pattern])
    .u16le(0)
    .bytes(header.serverKeyHint)
    .finish()
}

/**
 * Splits a request into header and handshake message 1.
 *
 * @param request - The whole body; checked for the exact length of its pattern.
 * @throws {@link RuntimeKeyError} `RK_MESSAGE`; a server answers it with its one handshake error.
 */
export function parseExchangeRequest(
  request: Uint8Array,
): ExchangeHeader & { header: Uint8Array; message: Uint8Array } {
  const reader = messageReader(request, 'request')
  const header = reader.bytes(EXCHANGE_HEADER_LENGTH, 'header')
  const fields = messageReader(header, 'header')
  const version = fields.u8('version')
  const code = fields.u8('pattern')
  fields.zeros(2, 'zero')
  const hint = fields.bytes(HINT_LENGTH, 'server key hint').slice()
  const pattern = code === PATTERN_CODES.NK ? 'NK' : code === PATTERN_CODES.IK ? 'IK' : undefined
  if (version !== VERSION || pattern === undefined || request.length !== EXCHANGE_REQUEST_LENGTHS[pattern]) {
    throw new RuntimeKeyError('RK_MESSAGE', 'Runtime key request has an unknown version or pattern, or a wrong length')
  }
  return { pattern, serverKeyHint: hint, header: header.slice(), message: reader.rest('handshake message 1').slice() }
}

/** @returns The Noise prologue that binds the handshake to this exchange and its header. */
export function exchangePrologue(header: Uint8Array): Uint8Array {
  return concatBytes(PROLOGUE_LABEL, header)
}

/** @returns The 37-byte payload of message 1. */
export function writeKeyRequest(request: KeyRequest): Uint8Array {
  assertKeyId(request.keyId)
  if (request.manifestSha256.length !== SHA256_LENGTH) throw new RangeError('manifestSha256: wanted 32 bytes')
  return new Writer(KEY_REQUEST_LENGTH).u8(VERSION).u32le(request.keyId).bytes(request.manifestSha256).finish()
}

/**
 * Reads the payload of message 1.
 *
 * @throws {@link RuntimeKeyError} `RK_MESSAGE`, `RK_KEY_ID`.
 */
export function parseKeyRequest(payload: Uint8Array): KeyRequest {
  const reader = messageReader(payload, 'request payload')
  const version = reader.u8('version')
  const keyId = reader.u32le('key_id')
  const manifestSha256 = reader.bytes(SHA256_LENGTH, 'manifest hash').slice()
  reader.end()
  if (version !== VERSION)
    throw new RuntimeKeyError('RK_MESSAGE', `Runtime key request has version ${version}, wanted 1`)
  assertKeyId(keyId)
  return { keyId, manifestSha256 }
}

/**
 * Writes the payload of message 2: 92 bytes whatever the answer is.
 *
 * @returns Fresh bytes, secret when the answer is yes; the caller wipes them.
 */
export function writeKeyAnswer(answer: KeyAnswer): Uint8Array {
  const granted = 'runtimeKey' in answer
  const status = granted ? 0 : REFUSALS.indexOf(answer.refusal) + 1
  const payload = new Uint8Array(KEY_ANSWER_LENGTH)
  payload.set(
    new Writer(8)
      .u8(status)
      .zeros(3)
      .u32le(granted ? 0 : (answer.retryAfterS ?? 0))
      .finish(),
  )
  if (granted) {
    const blob = writeRuntimeKeyBlob(answer.runtimeKey)
    payload.set(blob, KEY_ANSWER_LENGTH - RUNTIME_KEY_BLOB_LENGTH)
    wipe(blob)
  }
  return payload
}

/**
 * Reads the payload of message 2 and wipes it.
 *
 * @param payload - Taken over: zeroed before this returns or throws.
 * @param keyId - What was asked for; a key under another id is refused.
 * @throws {@link RuntimeKeyError} the refusal's code with `details.retryAfterS`, `RK_STATUS` (unknown status),
 *   `RK_MESSAGE` (length or padding), `RK_BLOB`, `RK_KEY_ID_MISMATCH`.
 */
export function openKeyAnswer(payload: Uint8Array, keyId: number): RuntimeKey {
  try {
    const reader = messageReader(payload, 'answer payload')
    const status = reader.u8('status')
    reader.zeros(3, 'zero')
    const retryAfterS = reader.u32le('retry_after_s')
    const blob = reader.bytes(RUNTIME_KEY_BLOB_LENGTH, 'blob')
    reader.end()
    if (status !== 0) {
      if (blob.some((byte) => byte !== 0)) throw new RuntimeKeyError('RK_MESSAGE', 'A refusal carries key bytes')
      const code: RuntimeKeyErrorCode = REFUSALS[status - 1] ?? 'RK_STATUS'
      throw new RuntimeKeyError(code, `The server hands out no key: status ${status}`, {
        details: { status, retryAfterS },
      })
    }
    const runtimeKey = parseRuntimeKeyBlobAndWipe(blob)
    if (runtimeKey.keyId === keyId) return runtimeKey
    runtimeKey.dispose()
    throw new RuntimeKeyError('RK_KEY_ID_MISMATCH', `Asked for key_id ${keyId}, the server sent ${runtimeKey.keyId}`)
  } finally {
    wipe(payload)
  }
}

function messageReader(bytes: Uint8Array, what: string): Reader {
  return new Reader(bytes, ({ field, offset }) => {
    return new RuntimeKeyError('RK_MESSAGE', `Cannot read runtime key ${what}: "${field}" at byte ${offset}`)
  })
}
