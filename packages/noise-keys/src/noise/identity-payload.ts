import { blake2s } from '@noble/hashes/blake2.js'
import {
  blake3,
  concatBytes,
  ed25519PublicKey,
  equalBytes,
  ed25519Sign,
  ed25519Verify,
  parseStrictJson,
  sha256,
  utf8Encode,
  Writer,
} from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { LABELS } from '../labels.ts'

/** Role word of a payload, as deployed peers spell it. */
export type PayloadRole = 'Client' | 'Server'

/** Which of the three deployed forms a payload's signature has. */
export type PayloadScheme = 'blake3' | 'blake2s-v2' | 'blake2s-v1'

/** What a payload's signature is about. Static keys come from the handshake, never from the payload. */
export interface PayloadBinding {
  /** Ed25519 public key the sender claims. */
  readonly identity: Uint8Array
  readonly role: PayloadRole
  /** The sender's static key. */
  readonly senderStatic: Uint8Array
  /** The receiver's static key, where the sender knows it (IK message 1, XX message 3). */
  readonly receiverStatic?: Uint8Array | undefined
  /** `IK` or `XX`; for the two older forms. */
  readonly pattern: 'IK' | 'XX'
  /** For the two older forms. */
  readonly prologue: Uint8Array
}

/** A payload whose signature fits. */
export interface VerifiedPayload {
  readonly identity: Uint8Array
  readonly scheme: PayloadScheme
  /** Unsigned, under the handshake's encryption only. */
  readonly hint?: string
}

/** Prologue of the deployed protocol. */
export const PUBKY_PROLOGUE: Uint8Array = utf8Encode('pubky-noise-v1')
const MAX_HINT_BYTES = 256
const MAX_PAYLOAD_BYTES = 4096

/** The 32 bytes that are signed, by form. */
export function payloadDigest(
  scheme: PayloadScheme,
  binding: PayloadBinding,
  extra: { epoch?: number; hint?: string; expiresAtS?: number } = {},
): Uint8Array {
  const { identity, role, senderStatic, receiverStatic = new Uint8Array(0), pattern, prologue } = binding
  if (scheme === 'blake3') {
    return blake3(
      concatBytes(
        utf8Encode('pubky-noise-binding/v1'),
        identity,
        senderStatic,
        Uint8Array.of(role === 'Client' ? 0 : 1),
        receiverStatic,
      ),
    )
  }
  const roleWord = utf8Encode(role.toLowerCase())
  const middle = [utf8Encode(pattern), prologue, identity, senderStatic, receiverStatic]
  if (scheme === 'blake2s-v2') return blake2s(concatBytes(utf8Encode('pubky-noise-bind:v2'), ...middle, roleWord))
  const epoch = new Writer(4).u32le(extra.epoch ?? 0).finish()
  const expiry =
    extra.expiresAtS === undefined
      ? new Uint8Array(0)
      : concatBytes(utf8Encode('expires_at:'), new Writer(8).u64le(extra.expiresAtS).finish())
  return blake2s(
    concatBytes(utf8Encode('pubky-noise-bind:v1'), ...middle, epoch, roleWord, utf8Encode(extra.hint ?? ''), expiry),
  )
}

/** Writes a payload in today's form, field for field as deployed peers do. */
export function writeIdentityPayload(
  seed: Uint8Array,
  binding: Omit<PayloadBinding, 'identity'>,
  hint?: { text: string; expiresAtS?: number },
): Uint8Array {
  const identity = ed25519PublicKey(seed)
  const sig = ed25519Sign(seed, payloadDigest('blake3', { ...binding, identity }))
  const expiry = hint?.expiresAtS === undefined ? {} : { hint_expires_at: hint.expiresAtS }
  return utf8Encode(
    JSON.stringify({
      ed25519_pub: [...identity],
      role: binding.role,
      server_hint: hint?.text ?? null,
      ...expiry,
      sig: [...sig],
    }),
  )
}

/**
 * Checks a payload in any of the three forms; the wire does not say which one it is.
 *
 * @param payload - Decrypted payload of the handshake message.
 * @param binding - What the handshake knows, the claimed identity aside.
 * @param nowS - Unix seconds, for `hint_expires_at`.
 * @throws {@link NoiseKeysError} `NK_HANDSHAKE` (shape, role, a static key that is not the handshake's), `NK_STALE`
 *   (the hint has expired), `NK_BINDING_SIGNATURE`.
 */
export function verifyIdentityPayload(
  payload: Uint8Array,
  binding: Omit<PayloadBinding, 'identity'>,
  nowS: number,
): VerifiedPayload {
  const fields = parsePayload(payload)
  const identity = byteArray(fields['ed25519_pub'], 32)
  const signature = byteArray(fields['sig'], 64)
  if (fields['role'] !== binding.role) throw malformed('another role')
  const hint = optional(fields['server_hint'], 'string')
  if (hint !== undefined && utf8Encode(hint).length > MAX_HINT_BYTES) throw malformed('a hint over 256 bytes')
  const hintExpiresS = optional(fields['hint_expires_at'], 'number')
  if (hintExpiresS !== undefined && hintExpiresS < nowS)
    throw new NoiseKeysError('NK_STALE', 'The hint in the payload has expired')
  const claimed = fields['noise_x25519_pub']
  const isOlder = claimed !== undefined
  if (isOlder && !equalBytes(byteArray(claimed, 32), binding.senderStatic))
    throw malformed("a static key that is not the handshake's")
  const whole = { ...binding, identity }
  const epoch = optional(fields['epoch'], 'number')
  const expiresAtS = optional(fields['expires_at'], 'number')
  const extra = {
    ...(epoch === undefined ? {} : { epoch }),
    ...(hint === undefined ? {} : { hint }),
    ...(expiresAtS === undefined ? {} : { expiresAtS }),
  }
  const schemes: readonly PayloadScheme[] = isOlder
    ? ['blake2s-v2', 'blake2s-v1']
    : ['blake3', 'blake2s-v2', 'blake2s-v1']
  const scheme = schemes.find((candidate) => ed25519Verify(identity, payloadDigest(candidate, whole, extra), signature))
  if (scheme === undefined)
    throw new NoiseKeysError('NK_BINDING_SIGNATURE', 'The payload was not signed by the identity it names')
  return { identity, scheme, ...(hint === undefined ? {} : { hint }) }
}

/** Attests a channel without static keys: signer's ephemeral key first, the other's second. */
export function signNnAttestation(seed: Uint8Array, ownEphemeral: Uint8Array, otherEphemeral: Uint8Array): Uint8Array {
  return ed25519Sign(seed, nnDigest(ownEphemeral, otherEphemeral))
}

/** @throws {@link NoiseKeysError} `NK_BINDING_SIGNATURE`. */
export function verifyNnAttestation(
  identity: Uint8Array,
  peerEphemeral: Uint8Array,
  ownEphemeral: Uint8Array,
  signature: Uint8Array,
): void {
  if (ed25519Verify(identity, nnDigest(peerEphemeral, ownEphemeral), signature)) return
  throw new NoiseKeysError('NK_BINDING_SIGNATURE', 'The channel was not attested by this identity')
}

function nnDigest(signerEphemeral: Uint8Array, otherEphemeral: Uint8Array): Uint8Array {
  return sha256(concatBytes(utf8Encode(LABELS.nnAttestation), signerEphemeral, otherEphemeral))
}

function parsePayload(payload: Uint8Array): JsonObject {
  try {
    const value = parseStrictJson(payload, { maxBytes: MAX_PAYLOAD_BYTES, maxDepth: 3 })
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch (cause) {
    throw new NoiseKeysError('NK_HANDSHAKE', 'The handshake has a payload that is not strict JSON', { cause })
  }
  throw malformed('no JSON object')
}

function byteArray(value: unknown, length: number): Uint8Array {
  const isBytes =
    Array.isArray(value) &&
    value.length === length &&
    value.every((byte) => Number.isInteger(byte) && (byte as number) >= 0 && (byte as number) <= 255)
  if (!isBytes) throw malformed(`no array of ${length} bytes`)
  return Uint8Array.from(value as number[])
}

function optional(value: unknown, type: 'string'): string | undefined
function optional(value: unknown, type: 'number'): number | undefined
function optional(value: unknown, type: 'string' | 'number'): string | number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== type || (typeof value === 'number' && value < 0)) throw malformed('a field of another type')
  return value as string | number
}

function malformed(what: string): NoiseKeysError {
  return new NoiseKeysError('NK_HANDSHAKE', `The handshake payload has ${what}`)
}
