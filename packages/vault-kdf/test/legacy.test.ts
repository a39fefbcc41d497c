import { hexDecode, hexEncode, openAes256Gcm } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { deriveLegacyLayerKey, deriveLegacyPartitionKey } from '../src/legacy.ts'
import { VaultError } from '../src/index.ts'
import { openLegacy } from '../src/legacy/index.ts'
import { sealLegacyForTest } from '../src/testing/index.ts'
import type { LegacyProfile } from '../src/index.ts'
import { lengthPrefixed, utf8 } from '../src/length-prefixed.ts'
import { layerTags } from '../src/place.ts'
import { contentOf, contextOf, generations, master, vectors } from './hexvault-vectors.ts'
import type { Blob } from './hexvault-vectors.ts'

const count = { partitionKeys: 0, derivedKeys: 0, ciphertexts: 0, resealed: 0, negative: 0 }

function place(blob: Blob): Parameters<typeof openLegacy>[2] {
  return { partition: blob.partition, cell: blob.cell, layer: blob.layer, context: contextOf(blob) }
}

/** The nonces of a blob, innermost first: each comes before its layer's ciphertext. */
function noncesOf(profile: LegacyProfile, blob: Blob): Uint8Array[] {
  const contexts = ['', blob.access ?? '', blob.session ?? '']
  const partitionKey = deriveLegacyPartitionKey(profile, master(blob.master), blob.partition)
  const nonces: Uint8Array[] = []
  let bytes = hexDecode(blob.ciphertext)
  for (let index: number = blob.layer; index >= 0; index--) {
    const tag = layerTags[index] ?? ''
    const key = deriveLegacyLayerKey(profile, partitionKey, { cell: blob.cell, tag, context: contexts[index] ?? '' })
    const aad = profile === 'hv-1.1.2' ? utf8(`hexvault:${blob.cell}:${tag}`) : new Uint8Array(0)
    nonces.unshift(bytes.slice(0, 12))
    bytes = openAes256Gcm(key, bytes.slice(0, 12), bytes.subarray(12), { aad })
  }
  return nonces
}

describe.each(generations)('HexVault vectors, %s as %s', (generation, profile) => {
  const set = vectors.generations[generation]

  it('deriveLegacyPartitionKey() gives the keys of the crate', () => {
    for (const vector of set.partitionKeys) {
      expect(hexEncode(deriveLegacyPartitionKey(profile, master(vector.master), vector.partition))).toBe(vector.key)
      count.partitionKeys++
    }
  })

  it('deriveLegacyLayerKey() gives the keys of the crate', () => {
    for (const vector of set.derivedKeys) {
      const partitionKey = deriveLegacyPartitionKey(profile, master(vector.master), vector.partition)
      expect(
        hexEncode(
          deriveLegacyLayerKey(profile, partitionKey, { cell: vector.cell, tag: vector.tag, context: vector.ctx }),
        ),
      ).toBe(vector.key)
      count.derivedKeys++
    }
  })

  it('openLegacy() opens every ciphertext, and no other profile does unless its derivation is the same', () => {
    for (const blob of set.ciphertexts) {
      const opened = openLegacy(profile, master(blob.master), place(blob), hexDecode(blob.ciphertext))
      expect(hexEncode(opened)).toBe(hexEncode(contentOf(blob.plaintext)))
      count.ciphertexts++
      for (const [, other] of generations) {
        if (other === profile) continue
        expect(() => openLegacy(other, master(blob.master), place(blob), hexDecode(blob.ciphertext))).toThrow(
          VaultError,
        )
      }
    }
  })

  it('sealLegacyForTest() reproduces every ciphertext from its nonces', () => {
    for (const blob of set.ciphertexts) {
      const nonces = noncesOf(profile, blob)
      const sealed = sealLegacyForTest(profile, place(blob), contentOf(blob.plaintext), {
        master: master(blob.master),
        random: () => {
          const nonce = nonces.shift()
          if (nonce === undefined) throw new Error('One nonce a layer')
          return new Uint8Array(nonce)
        },
      })
      expect(hexEncode(sealed)).toBe(blob.ciphertext)
      count.resealed++
    }
  })

  it.each(set.negative.map((blob) => [blob.why, blob.id, blob] as const))(
    'openLegacy() refuses: %s (%s)',
    (_why, _id, blob) => {
      expect(() => openLegacy(profile, master(blob.master), place(blob), hexDecode(blob.ciphertext))).toThrow(
        expect.objectContaining({ code: 'VK_AUTH' }),
      )
      count.negative++
    },
  )

  it('the info strings are those of the crate', () => {
    for (const { cell, tag, ctx, info, aad } of set.encodings.cellInfoHex) {
      expect(hexEncode(profile === 'hv-1.1.2' ? lengthPrefixed(cell, tag, ctx) : utf8(`${cell}:${tag}:${ctx}`))).toBe(
        info,
      )
      expect(hexEncode(profile === 'hv-1.1.2' ? utf8(`hexvault:${cell}:${tag}`) : new Uint8Array(0))).toBe(aad)
    }
  })
})

it('the colon flaw of hv-1.0 and hv-1.1.0 is reproduced and gone in hv-1.1.2', () => {
  const keys = (profile: LegacyProfile): string[] =>
    vectors.collisions.pair.map(({ cell, tag, ctx }) => {
      const partitionKey = deriveLegacyPartitionKey(profile, master('A'), 'p1')
      return hexEncode(deriveLegacyLayerKey(profile, partitionKey, { cell, tag, context: ctx }))
    })
  for (const profile of ['hv-1.0', 'hv-1.1.0'] as const) expect(new Set(keys(profile)).size).toBe(1)
  expect(new Set(keys('hv-1.1.2')).size).toBe(2)
})

it('every vector was counted', () => {
  expect(count).toEqual({ partitionKeys: 64, derivedKeys: 90, ciphertexts: 90, resealed: 90, negative: 50 })
})
