import { expect, it } from 'vitest'
import { Writer } from '../src/index.ts'

it('Writer writes every kind of value at every place where its memory grows', () => {
  for (let filled = 0; filled < 200; filled++) {
    const written = new Writer(1).bytes(new Uint8Array(filled).fill(9)).u8(1).u16be(2).u32be(3).u64be(4).u8(5).finish()
    expect([...written.subarray(filled)]).toEqual([1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 5])
  }
})
