import { describe, expect, it } from 'vitest'
import { blake3 } from '@keyturn/primitives'
import { blake3Chunk, MAX_CHUNK_BYTES } from '../src/blake3-chunk.ts'

describe('blake3Chunk()', () => {
  it('equals the general BLAKE3 for every length of one chunk', () => {
    for (let length = 0; length <= MAX_CHUNK_BYTES; length++) {
      const input = new Uint8Array(length).map((_, i) => (i * 131 + length) & 0xff)
      expect(blake3Chunk(input)).toEqual(blake3(input))
    }
  })
})
