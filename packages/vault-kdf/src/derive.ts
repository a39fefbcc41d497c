import { concatBytes, hkdfSha256, wipe } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { infoStart, messageInfo } from './info-writer.ts'
import { labels } from './labels.ts'
import { be32, lengthPrefixed, utf8 } from './length-prefixed.ts'
import { KEY_BYTES, MAX_KEY_VERSION } from './limits.ts'
import { layerTags } from './place.ts'
import { SmallHmac } from './small-hmac.ts'

declare const partitionKeyBrand: unique symbol

/** Key of one partition under one master version; secret, 32 bytes. Minted by {@link derivePartitionKey} and
 * {@link deriveErasablePartitionKey} alone. */
export type PartitionKey = Uint8Array & { readonly [partitionKeyBrand]: never }

const NONCE_BYTES = 12
const extractSalt = utf8(labels.extractSalt)

/**
 * Checks the bytes of a master key.
 *
 * @throws VaultError `VK_KEY` for any length but 32 and for all zeros.
 */
export function checkMasterKey(master: Uint8Array): void {
  if (master.length !== KEY_BYTES || master.every((byte) => byte === 0)) {
    throw new VaultError('VK_KEY', `Master key of ${master.length} bytes is not 32 bytes, or all zero`)
  }
}

/** Checks a key version: an integer from 0 to 2³² − 1. */
export function checkKeyVersion(version: number): void {
  if (!Number.isInteger(version) || version < 0 || version > MAX_KEY_VERSION) {
    throw new RangeError(`Key version ${version} is not an integer from 0 to 4294967295`)
  }
}

/**
 * Derives the key of one partition: HKDF-SHA-256 with salt `hxv1`, docs/spec/vault-kdf.md §3.1.
 *
 * @param master - 32 bytes, secret; neither kept nor modified.
 * @param version - Version of that master, u32.
 * @returns A fresh 32-byte key; the caller wipes it.
 */
export function derivePartitionKey(master: Uint8Array, version: number, partition: string): PartitionKey {
  checkKeyVersion(version)
  if (master.length !== KEY_BYTES)
    throw new VaultError('VK_KEY', `Master key has ${master.length} bytes, 32 are wanted`)
  const info = lengthPrefixed(labels.partition, be32(version), partition)
  return hkdfSha256(master, extractSalt, info, KEY_BYTES) as PartitionKey
}

/**
 * Derives the key of a partition that can be erased: its random secret goes into the key beside the master, so that
 * without the secret no master opens a record of it. docs/spec/vault-kdf.md §3.2.
 *
 * @param master - 32 bytes, secret; neither kept nor modified.
 * @param secret - 32 bytes, the secret of this partition; neither kept nor modified.
 * @returns A fresh 32-byte key; the caller wipes it.
 */
export function deriveErasablePartitionKey(
  master: Uint8Array,
  secret: Uint8Array,
  { version, partition }: { readonly version: number; readonly partition: string },
): PartitionKey {
  checkKeyVersion(version)
  for (const key of [master, secret]) {
    if (key.length !== KEY_BYTES)
      throw new VaultError('VK_KEY', `A master or partition secret has ${key.length} bytes, expected ${KEY_BYTES}`)
  }
  const both = concatBytes(master, secret)
  try {
    const info = lengthPrefixed(labels.erasablePartition, be32(version), partition)
    return hkdfSha256(both, extractSalt, info, KEY_BYTES) as PartitionKey
  } finally {
    wipe(both)
  }
}

/** The first 8 bytes of HKDF over a master key: tells keys apart and is safe to show. */
export function fingerprintMasterKey(master: Uint8Array): Uint8Array {
  return hkdfSha256(master, new Uint8Array(0), lengthPrefixed(labels.fingerprint), KEY_BYTES).slice(0, 8)
}

/** What one message is sealed to, next to its partition key. */
export interface MessageBinding {
  /** The 12 header bytes of the envelope: format, suite, depth, key version. */
  readonly header: Uint8Array
  readonly cell: string
  readonly name: string
  /** Context of each layer from 0 up, as {@link contextsOf} gives them. */
  readonly contexts: readonly string[]
}

/** Commitment and layer keys of one message. Wipe with {@link MessageKeys.dispose}. */
export class MessageKeys {
  readonly #prk: SmallHmac
  readonly #binding: MessageBinding

  /**
   * @param partitionKey - Secret; neither kept nor modified.
   * @param salt - 32 random bytes, one message only.
   */
  constructor(partitionKey: PartitionKey, salt: Uint8Array, binding: MessageBinding) {
    const prk = new SmallHmac(salt).mac(partitionKey)
    this.#prk = new SmallHmac(prk)
    this.#binding = binding
    wipe(prk)
  }

  /** 32 bytes that commit to key, version, partition, cell, name, depth and contexts; public. */
  commitment(): Uint8Array {
    const { header, cell, name, contexts } = this.#binding
    const { bytes, length } = messageInfo(labels.commit, header, [cell, name, ...contexts])
    bytes[infoStart + length - 1] = 1
    return this.#prk.mac(bytes.subarray(infoStart, infoStart + length))
  }

  /** Key and nonce of layer `index`: 44 bytes of HKDF-Expand; the caller wipes both. */
  layer(index: number): { key: Uint8Array; nonce: Uint8Array } {
    const { header, cell, name, contexts } = this.#binding
    const tag = layerTags[index]
    const context = contexts[index]
    if (tag === undefined || context === undefined) throw new RangeError(`No layer ${index}`)
    const { bytes, length } = messageInfo(labels.layer, header, [cell, name, tag, context])
    bytes[infoStart + length - 1] = 1
    const key = this.#prk.mac(bytes.subarray(infoStart, infoStart + length))
    bytes.set(key) // T(2) = HMAC(PRK, T(1) ‖ info ‖ 2)
    bytes[infoStart + length - 1] = 2
    const second = this.#prk.mac(bytes, infoStart + length)
    const nonce = second.slice(0, NONCE_BYTES)
    bytes.fill(0, 0, infoStart)
    wipe(second)
    return { key, nonce }
  }

  /** Wipes the message key. */
  dispose(): void {
    this.#prk.dispose()
  }
}
