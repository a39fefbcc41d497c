import {
  concatBytes,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  utf8Encode,
  Writer,
  base64Encode,
} from '@keyturn/primitives'
import { signKeyBinding, verifyKeyBinding } from './binding.ts'
import { assertDeviceId } from './device-id.ts'
import { NoiseKeysError } from './errors.ts'
import { LABELS } from './labels.ts'
import { formatKeyRecord } from './record.ts'
import type { ParsedKeyRecord, StatefulKeyRecord } from './record.ts'

/** Identity and device a record belongs to. */
export interface RecordPlace {
  /** Ed25519 public key of the transport identity. */
  readonly identity: Uint8Array
  readonly deviceId: string
}

/**
 * The bytes under the second signature of a record. Every part has its length in front, and the text is signed as it
 * is, not hashed first, so that a signer can show what it signs.
 *
 * @param text - The record up to but without `;sig2=`.
 */
export function keyRecordSigningBytes({ identity, deviceId }: RecordPlace, text: string): Uint8Array {
  return signingBytes(LABELS.record, identity, deviceId, text)
}

/** Label, zero, identity, device id with its length, text with its length. */
export function signingBytes(label: string, identity: Uint8Array, deviceId: string, text: string): Uint8Array {
  const device = utf8Encode(deviceId)
  const body = utf8Encode(text)
  return concatBytes(
    utf8Encode(label),
    new Uint8Array(1),
    identity,
    new Writer(2).u16be(device.length).finish(),
    device,
    new Writer(4).u32be(body.length).finish(),
    body,
  )
}

/** A stateful record before its signatures. */
export type UnsignedKeyRecord = Omit<StatefulKeyRecord, 'format' | 'bindingSignature'>

/**
 * Makes a stateful record with both signatures; a revoked one gets no binding, so that old readers fail closed.
 *
 * @param seed - Ed25519 seed of the identity; neither kept nor modified.
 * @returns The text to publish.
 * @throws {@link NoiseKeysError} `NK_RECORD`, `NK_DEVICE_ID`.
 */
export function signKeyRecord(seed: Uint8Array, deviceId: string, record: UnsignedKeyRecord): string {
  assertDeviceId(deviceId)
  const binding =
    record.state === 'revoked' ? {} : { bindingSignature: signKeyBinding(seed, record.publicKey, deviceId) }
  const text = formatKeyRecord({ format: 'stateful', ...record, ...binding })
  return appendRecordSignature(
    text,
    ed25519Sign(seed, keyRecordSigningBytes({ identity: ed25519PublicKey(seed), deviceId }, text)),
  )
}

/** Puts the second signature behind the text it is about. */
export function appendRecordSignature(text: string, signature: Uint8Array): string {
  return `${text};sig2=${base64Encode(signature)}`
}

/**
 * Verifies every signature of a record over the bytes that were received.
 *
 * @throws {@link NoiseKeysError} `NK_BINDING_SIGNATURE`, `NK_LOW_ORDER`.
 */
export function verifyKeyRecord(record: ParsedKeyRecord, place: RecordPlace): void {
  if (record.format === 'stateful') {
    const signed = keyRecordSigningBytes(place, record.signedText)
    if (!ed25519Verify(place.identity, signed, record.recordSignature)) {
      throw new NoiseKeysError(
        'NK_BINDING_SIGNATURE',
        'The record was not signed like this for this identity and device',
      )
    }
  }
  if (record.bindingSignature !== undefined) {
    verifyKeyBinding({ ...place, publicKey: record.publicKey }, record.bindingSignature)
  } else if (record.format === 'plain') {
    throw new NoiseKeysError('NK_BINDING_SIGNATURE', 'The record has no signature')
  }
}
