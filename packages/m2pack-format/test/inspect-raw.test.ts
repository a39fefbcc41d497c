import { blake2b256, concatBytes, ed25519Sign, sha256, Writer } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { inspectRaw, memorySource } from '../src/index.ts'
import { craft, publicKey, seed, text } from './support/craft.ts'
import { noise } from './support/tree.ts'

const manifest = concatBytes(text('manifest of the original packer '), noise('entries', 300))

/** Headers that the original packer might write. */
const candidates = {
  'u64, no key_id': (payload: Uint8Array) => {
    const offset = 8 + 4 + 16 + 32 + 64 + payload.length
    return new Writer()
      .bytes(text('M2PACK2\0'))
      .u32le(1)
      .u64le(offset)
      .u64le(manifest.length)
      .bytes(blake2b256(manifest))
      .bytes(ed25519Sign(seed, manifest))
      .finish()
  },
  'u32, size first, signed hash': (payload: Uint8Array) => {
    const offset = 8 + 8 + 8 + 32 + 64 + payload.length
    return new Writer()
      .bytes(text('M2PACK2\0'))
      .u32le(1)
      .u32le(4)
      .u32le(manifest.length)
      .u32le(offset)
      .bytes(blake2b256(manifest))
      .bytes(ed25519Sign(seed, blake2b256(manifest)))
      .finish()
  },
  'signature before hash, sha-256': (payload: Uint8Array) => {
    const offset = 8 + 8 + 16 + 64 + 32 + payload.length
    return new Writer()
      .bytes(text('M2PACK2\0'))
      .u32le(1)
      .u32le(4)
      .u64le(offset)
      .u64le(manifest.length)
      .bytes(ed25519Sign(seed, manifest))
      .bytes(sha256(manifest))
      .finish()
  },
}

describe('inspectRaw()', () => {
  it.each(Object.entries(candidates))('settles a file of unknown layout: %s', async (_name, header) => {
    const payload = noise('payload', 1000)
    const source = memorySource(concatBytes(header(payload), payload, manifest))
    const blind = await inspectRaw(source)
    expect(blind.layouts.length).toBeGreaterThan(0)
    expect(blind.settled).toBe(false)
    const { settled, layouts, manifestHead } = await inspectRaw(source, publicKey)
    expect(settled).toBe(true)
    expect(layouts[0]).toMatchObject({ manifestSize: manifest.length, manifestOffset: source.size - manifest.length })
    expect(new TextDecoder().decode(manifestHead?.subarray(0, 8))).toBe('manifest')
  })

  it('recognises archives of this package, and finds nothing in noise', async () => {
    expect(await inspectRaw(memorySource(craft()), publicKey)).toMatchObject({
      settled: true,
      layouts: [{ width: 8, offsetAt: 16, sizeAt: 24, hashAt: 32, signatureAt: 64, signed: 'manifest' }],
    })
    expect(await inspectRaw(memorySource(noise('junk', 5000)), publicKey)).toMatchObject({
      settled: false,
      layouts: [],
    })
    expect((await inspectRaw(memorySource(new Uint8Array(0)))).layouts).toEqual([])
  })
})
