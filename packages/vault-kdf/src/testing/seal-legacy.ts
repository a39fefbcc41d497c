import { sealAes256Gcm, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import {
  additionalData,
  deriveLegacyLayerKey,
  deriveLegacyPartitionKey,
  legacyContexts,
  NONCE_BYTES,
} from '../legacy.ts'
import type { LegacyPlace, LegacyProfile } from '../legacy.ts'
import { layerTags } from '../place.ts'

/**
 * Seals as HexVault did. For tests and migration drills: nothing in the vault writes this.
 *
 * @throws VaultError `VK_CONTEXT`.
 */
export function sealLegacyForTest(
  profile: LegacyProfile,
  place: LegacyPlace,
  plaintext: Uint8Array,
  { master, random }: { readonly master: Uint8Array; readonly random: RandomSource },
): Uint8Array {
  const contexts = legacyContexts(profile, place)
  if (contexts === undefined) throw new VaultError('VK_CONTEXT', `Layer ${place.layer} lacks an id`)
  const partitionKey = deriveLegacyPartitionKey(profile, master, place.partition)
  let bytes = plaintext
  for (let index = 0; index <= place.layer; index++) {
    const tag = layerTags[index] ?? ''
    const key = deriveLegacyLayerKey(profile, partitionKey, { cell: place.cell, tag, context: contexts[index] ?? '' })
    const nonce = random(NONCE_BYTES)
    const sealed = sealAes256Gcm(key, nonce, bytes, { aad: additionalData(profile, place.cell, tag) })
    bytes = new Uint8Array(NONCE_BYTES + sealed.length)
    bytes.set(nonce)
    bytes.set(sealed, NONCE_BYTES)
    wipe(key)
  }
  wipe(partitionKey)
  return bytes
}
