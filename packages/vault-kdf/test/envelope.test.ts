import { hexDecode, hexEncode } from '@keyturn/primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MessageKeys } from '../src/derive.ts'
import { envelopeOverhead, tryOpenEnvelope } from '../src/envelope.ts'
import { derivePartitionKey, openEnvelope, parseEnvelopeHeader, sealEnvelope } from '../src/index.ts'
import type { Layer } from '../src/index.ts'
import { contextsOf } from '../src/place.ts'
import { contentOf, contextOf, master, vectors } from './hexvault-vectors.ts'

const auth = expect.objectContaining({ code: 'VK_AUTH' })

describe('vectors of the envelope', () => {
  it('sealEnvelope() and openEnvelope() agree with the independent implementation, step by step', () => {
    for (const vector of vectors.proposed.envelopes) {
      const partitionKey = derivePartitionKey(master(vector.master), vector.key_version, vector.partition)
      expect(hexEncode(partitionKey)).toBe(vector.partitionKey)
      const place = { cell: vector.cell, name: vector.payload, layer: vector.layer, context: contextOf(vector) }
      const keys = new MessageKeys(partitionKey, hexDecode(vector.salt), {
        ...place,
        header: hexDecode(vector.header),
        contexts: contextsOf(place.layer, place.context),
      })
      expect(hexEncode(keys.commitment())).toBe(vector.commit)
      for (const [index, expected] of vector.layerKeyAndNonce.entries()) {
        const { key, nonce } = keys.layer(index)
        expect(hexEncode(key) + hexEncode(nonce)).toBe(expected)
      }
      const sealed = sealEnvelope(partitionKey, place, contentOf(vector.plaintext), {
        keyVersion: vector.key_version,
        salt: hexDecode(vector.salt),
      })
      expect(hexEncode(sealed)).toBe(vector.envelope)
      expect(hexEncode(openEnvelope(partitionKey, place, sealed))).toBe(hexEncode(contentOf(vector.plaintext)))
    }
    expect(vectors.proposed.envelopes).toHaveLength(6)
  })
})

const base = { cell: 'cell', name: 'name', layer: 2 as Layer, context: { policy: 'pol', session: 'ses' } }
const masterKey = new Uint8Array(32).fill(7)
const partitionKey = derivePartitionKey(masterKey, 3, 'p')
const salt = Uint8Array.from({ length: 32 }, (_, index) => index)
const plaintext = new TextEncoder().encode('the plaintext')
const envelope = sealEnvelope(partitionKey, base, plaintext, { keyVersion: 3, salt })

describe('envelope', () => {
  it('openEnvelope() inverts sealEnvelope() at every layer and length', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom<Layer>(0, 1, 2),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (text, layer, random) => {
          const sealed = sealEnvelope(partitionKey, { ...base, layer }, text, { keyVersion: 3, salt: random })
          expect(sealed.length).toBe(text.length + envelopeOverhead(layer))
          expect(parseEnvelopeHeader(sealed)).toEqual({ format: 1, layer, keyVersion: 3 })
          expect(openEnvelope(partitionKey, { ...base, layer }, sealed)).toEqual(text)
        },
      ),
    )
  })

  it('openEnvelope() refuses every flipped bit and every cut (row 171)', () => {
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const damaged = envelope.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(() => openEnvelope(partitionKey, base, damaged)).toThrow(auth)
    }
    for (let length = 0; length < envelope.length; length++) {
      expect(() => openEnvelope(partitionKey, base, envelope.subarray(0, length))).toThrow(auth)
    }
    expect(() => openEnvelope(partitionKey, base, new Uint8Array([...envelope, 0]))).toThrow(auth)
  })

  it.each([
    ['another cell', { ...base, cell: 'cell2' }],
    ['another name', { ...base, name: 'other' }],
    ['another policy', { ...base, context: { policy: 'x', session: 'ses' } }],
    ['another session', { ...base, context: { policy: 'pol', session: 'x' } }],
    ['another layer', { ...base, layer: 1 as Layer }],
  ])('openEnvelope() refuses %s by the commitment alone (row 172)', (_what, place) => {
    expect(tryOpenEnvelope(partitionKey, place, envelope)).toEqual({ failure: 'commitment' })
  })

  it('openEnvelope() refuses another key version, partition and master (row 167)', () => {
    for (const key of [
      derivePartitionKey(masterKey, 4, 'p'),
      derivePartitionKey(masterKey, 3, 'q'),
      derivePartitionKey(new Uint8Array(32).fill(8), 3, 'p'),
    ]) {
      expect(tryOpenEnvelope(key, base, envelope)).toEqual({ failure: 'commitment' })
    }
  })

  it('tryOpenEnvelope() tells damage behind a good commitment', () => {
    const damaged = envelope.slice()
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1
    expect(tryOpenEnvelope(partitionKey, base, damaged)).toEqual({ failure: 'integrity' })
  })

  const badIds = ['a\0b', 'x'.repeat(256), 'x'.repeat(65_536), 'e\u0301', '\ud800']

  it.each(badIds)('sealEnvelope() refuses the id %j (row 165)', (id) => {
    expect(() => sealEnvelope(partitionKey, { ...base, name: id }, plaintext, { keyVersion: 3, salt })).toThrow(
      expect.objectContaining({ code: 'VK_INFO' }),
    )
    expect(() => sealEnvelope(partitionKey, { ...base, cell: '' }, plaintext, { keyVersion: 3, salt })).toThrow(
      expect.objectContaining({ code: 'VK_INFO' }),
    )
    expect(() => sealEnvelope(partitionKey, { ...base, cell: id }, plaintext, { keyVersion: 3, salt })).toThrow(
      expect.objectContaining({ code: 'VK_INFO' }),
    )
  })

  it('sealEnvelope() wants the ids of its layer', () => {
    expect(() =>
      sealEnvelope(partitionKey, { ...base, context: { policy: 'pol' } }, plaintext, { keyVersion: 3, salt }),
    ).toThrow(expect.objectContaining({ code: 'VK_CONTEXT' }))
  })
})
