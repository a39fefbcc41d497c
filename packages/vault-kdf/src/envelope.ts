import {
  equalBytes,
  openAes256Gcm,
  PrimitivesError,
  requireBytes,
  requireMembers,
  sealAes256Gcm,
  wipe,
} from '@keyturn/primitives'
import { MessageKeys } from './derive.ts'
import type { PartitionKey } from './derive.ts'
import { VaultError } from './errors.ts'
import { MAX_PLAINTEXT_BYTES } from './limits.ts'
import { checkId, checkName, contextsOf, isLayer } from './place.ts'
import type { Layer, Place } from './place.ts'

// offset  size  field                                     docs/spec/vault-kdf.md §2
//  0       4    magic        89 "HXV"
//  4       1    format       01, or 02: the partition key has a random secret of the partition in it
//  5       1    suite        01 = HKDF-SHA-256 + AES-256-GCM, keys per message, commitment
//  6       1    depth        layer of the record, 0 to 2
//  7       1    flags        00
//  8       4    key version  u32 big-endian
// 12      32    salt         random and hedged, one message
// 44      32    commitment
// 76       …    body         plaintext + 16 bytes a layer, innermost is layer 0
const MAGIC = new Uint8Array([0x89, 0x48, 0x58, 0x56])
const SUITE = 1
const HEADER_BYTES = 12
const SALT_BYTES = 32
const COMMITMENT_BYTES = 32
const PREFIX_BYTES = HEADER_BYTES + SALT_BYTES + COMMITMENT_BYTES
const TAG_BYTES = 16

/** Bytes an envelope adds to its plaintext, by layer: 92, 108, 124. */
export function envelopeOverhead(layer: Layer): number {
  return PREFIX_BYTES + TAG_BYTES * (layer + 1)
}

/** How the partition key is made: 1 from the master alone, 2 from the master and the secret of the partition. */
export type EnvelopeFormat = 1 | 2

/** What an envelope says of itself; nothing of it is proved before it is opened. */
export interface EnvelopeHeader {
  readonly format: EnvelopeFormat
  readonly layer: Layer
  readonly keyVersion: number
}

/**
 * Reads the header of an envelope, or says that these bytes are none (older bytes without a header, damage, or a
 * suite from the future). Shape only: nothing is proved.
 */
export function parseEnvelopeHeader(bytes: Uint8Array): EnvelopeHeader | undefined {
  if (bytes.length < PREFIX_BYTES + TAG_BYTES) return undefined
  for (let index = 0; index < MAGIC.length; index++) if (bytes[index] !== MAGIC[index]) return undefined
  const depth = bytes[6] ?? 0xff
  const format = bytes[4]
  if ((format !== 1 && format !== 2) || bytes[5] !== SUITE || bytes[7] !== 0 || !isLayer(depth)) return undefined
  if (bytes.length < envelopeOverhead(depth)) return undefined
  return { format, layer: depth, keyVersion: new DataView(bytes.buffer, bytes.byteOffset).getUint32(8) }
}

/** Writes the 12 header bytes. */
function putHeader(envelope: Uint8Array, { format, layer, keyVersion }: EnvelopeHeader): void {
  envelope.set(MAGIC)
  envelope[4] = format
  envelope[5] = SUITE
  envelope[6] = layer
  new DataView(envelope.buffer, envelope.byteOffset).setUint32(8, keyVersion)
}

/** AAD of a layer: everything in front of the body, and the layer's number, which is set before each use. */
function additionalData(envelope: Uint8Array): Uint8Array {
  const aad = new Uint8Array(PREFIX_BYTES + 1)
  aad.set(envelope.subarray(0, PREFIX_BYTES))
  return aad
}

/** What a message is sealed under. */
export interface SealOptions {
  /** Of the partition key. */
  readonly keyVersion: number
  /** 32 fresh random bytes; two messages with one salt would share keys. */
  readonly salt: Uint8Array
  /** 2 for a key of `deriveErasablePartitionKey`; default 1. */
  readonly format?: EnvelopeFormat | undefined
}

/**
 * Seals a plaintext to its place: docs/spec/vault-kdf.md §4.
 *
 * @param partitionKey - Key of `place.partition` under `keyVersion`; neither kept nor modified.
 * @returns The envelope.
 * @throws VaultError `VK_INFO`, `VK_CONTEXT`, `VK_LIMIT`.
 */
export function sealEnvelope(
  partitionKey: PartitionKey,
  place: Omit<Place, 'partition'>,
  plaintext: Uint8Array,
  options: SealOptions,
): Uint8Array {
  requireBytes(plaintext, 'plaintext')
  requireMembers(options, 'options', ['keyVersion', 'salt'])
  const { keyVersion, salt, format = 1 } = options
  if (salt.length !== SALT_BYTES) throw new RangeError(`Message salt has ${salt.length} bytes, expected ${SALT_BYTES}`)
  if (plaintext.length > MAX_PLAINTEXT_BYTES) {
    throw new VaultError(
      'VK_LIMIT',
      `Plaintext of ${plaintext.length} bytes is over the limit of ${MAX_PLAINTEXT_BYTES}`,
    )
  }
  checkId(place.cell, 'cell')
  checkName(place.name)
  const contexts = contextsOf(place.layer, place.context)
  const envelope = new Uint8Array(plaintext.length + envelopeOverhead(place.layer))
  putHeader(envelope, { format, layer: place.layer, keyVersion })
  envelope.set(salt, HEADER_BYTES)
  const keys = new MessageKeys(partitionKey, salt, {
    cell: place.cell,
    name: place.name,
    header: envelope.subarray(0, HEADER_BYTES),
    contexts,
  })
  try {
    envelope.set(keys.commitment(), HEADER_BYTES + SALT_BYTES)
    const aad = additionalData(envelope)
    const body = envelope.subarray(PREFIX_BYTES)
    let inner = plaintext
    for (let index = 0; index <= place.layer; index++) {
      aad[PREFIX_BYTES] = index
      const { key, nonce } = keys.layer(index)
      inner = sealAes256Gcm(key, nonce, inner, { aad, out: body }) // in place from the second layer on
      wipe(key, nonce)
    }
    return envelope
  } finally {
    keys.dispose()
  }
}

/** Why an envelope did not open: not committed to this key and place at all, or damaged behind a good commitment. */
export type OpenFailure = 'commitment' | 'integrity'

/**
 * Opens an envelope: the commitment is compared first, so a wrong key, place or context costs a few HMACs and no pass
 * over the bytes.
 *
 * @returns The plaintext (the caller wipes it), or why there is none. Callers turn both into one error.
 * @throws VaultError `VK_INFO`, `VK_CONTEXT`.
 */
export function tryOpenEnvelope(
  partitionKey: PartitionKey,
  place: Omit<Place, 'partition'>,
  envelope: Uint8Array,
): { plaintext: Uint8Array } | { failure: OpenFailure } {
  const found = parseEnvelopeHeader(envelope)
  if (found === undefined || found.layer !== place.layer) return { failure: 'commitment' }
  const head = envelope.subarray(0, HEADER_BYTES)
  const salt = envelope.subarray(HEADER_BYTES, HEADER_BYTES + SALT_BYTES)
  const contexts = contextsOf(place.layer, place.context)
  const keys = new MessageKeys(partitionKey, salt, { cell: place.cell, name: place.name, header: head, contexts })
  try {
    if (!equalBytes(keys.commitment(), envelope.subarray(HEADER_BYTES + SALT_BYTES, PREFIX_BYTES)))
      return { failure: 'commitment' }
    return peel(keys, place.layer, envelope)
  } finally {
    keys.dispose()
  }
}

function peel(
  keys: MessageKeys,
  layer: Layer,
  envelope: Uint8Array,
): { plaintext: Uint8Array } | { failure: OpenFailure } {
  const aad = additionalData(envelope)
  let body = envelope.subarray(PREFIX_BYTES)
  for (let index: number = layer; index >= 0; index--) {
    aad[PREFIX_BYTES] = index
    const { key, nonce } = keys.layer(index)
    try {
      body = openAes256Gcm(key, nonce, body, { aad })
    } catch (error) {
      if (error instanceof PrimitivesError && error.code === 'PRIM_DECRYPT') return { failure: 'integrity' }
      throw error
    } finally {
      wipe(key, nonce)
    }
  }
  return { plaintext: body }
}

/**
 * Opens an envelope under the key of its partition, or throws one error whatever the cause.
 *
 * @returns The plaintext; the caller wipes it.
 * @throws VaultError `VK_AUTH`.
 */
export function openEnvelope(
  partitionKey: PartitionKey,
  place: Omit<Place, 'partition'>,
  envelope: Uint8Array,
): Uint8Array {
  requireBytes(envelope, 'envelope')
  const result = tryOpenEnvelope(partitionKey, place, envelope)
  if ('plaintext' in result) return result.plaintext
  throw new VaultError('VK_AUTH', 'Cannot open record: the bytes do not belong to this key and place')
}
