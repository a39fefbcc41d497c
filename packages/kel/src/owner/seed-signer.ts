import { ed25519PublicKey, ed25519Sign, requireList } from '@keyturn/primitives'
import type { Signer } from '../signer.ts'

/**
 * A signer over seeds held in memory. The seeds are neither copied nor wiped: their owner does that when the signer is
 * no longer needed.
 *
 * @param seeds - Ed25519 seeds, 32 bytes each, secret.
 */
export function seedSigner(seeds: readonly Uint8Array[]): Signer {
  requireList(seeds, 'seeds')
  return {
    publicKeys: seeds.map((seed) => ed25519PublicKey(seed)),
    sign(message, keyIndex) {
      const seed = seeds[keyIndex]
      if (seed === undefined) throw new RangeError(`Signer has ${seeds.length} keys, asked for key ${keyIndex}`)
      return ed25519Sign(seed, message)
    },
  }
}
