import { createCipheriv } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { M2pError, memorySource } from '../src/index.ts'
import { CamelliaCtr } from '../src/legacy/camellia.ts'
import { openEterPack, openPck } from '../src/legacy/index.ts'
import { decompressLzo } from '../src/legacy/lzo.ts'
import { writeEterPack, writePck } from './support/legacy-writer.ts'
import { noise } from './support/tree.ts'

interface LzoVectors {
  cases: { kind: number; size: number; level: number; hex: string }[]
}
const lzo = JSON.parse(readFileSync(new URL('vectors/lzo.json', import.meta.url), 'utf8')) as LzoVectors

/** The plaintexts of the vectors. */
function lzoPlain(kind: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let state = 12345
  const next = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return state >>> 16
  }
  for (let at = 0; at < size; at++) {
    if (kind === 1) bytes[at] = next() & 255
    else if (kind === 2) bytes[at] = 'the quick brown fox '.charCodeAt(at % 20)
    else if (kind === 3) {
      const letter = (next() & 3) + 97
      bytes[at] = at >= 20000 && Math.floor(at / 1000) % 2 === 1 ? (bytes[at - 20000] as number) : letter
    }
  }
  return bytes
}

describe('decompressLzo()', () => {
  it('agrees with liblzo2 on every vector', () => {
    for (const { kind, size, hex, level } of lzo.cases) {
      expect(
        Buffer.compare(decompressLzo(Buffer.from(hex, 'hex'), size), lzoPlain(kind, size)),
        `${kind} ${size} ${level}`,
      ).toBe(0)
    }
    expect(lzo.cases.length).toBeGreaterThan(70)
  })

  it('gives bytes or an M2pError for anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(2000), (bytes, size) => {
        try {
          expect(decompressLzo(bytes, size).length).toBe(size)
        } catch (error) {
          expect(error).toBeInstanceOf(M2pError)
        }
      }),
      { numRuns: 5000 },
    )
  })
})

describe('CamelliaCtr', () => {
  it('agrees with OpenSSL, over block and counter edges', () => {
    for (const length of [1, 15, 16, 17, 100, 1000]) {
      const [key, plain] = [noise(`key ${length}`, 32), noise(`plain ${length}`, length)]
      const iv = Buffer.concat([Buffer.alloc(8, length), Buffer.from('fffffffffffffffe', 'hex')])
      const cipher = createCipheriv('camellia-256-ctr', key, iv)
      expect(Buffer.from(new CamelliaCtr(key, iv).apply(plain)).toString('hex')).toBe(
        cipher.update(plain).toString('hex'),
      )
    }
  })
})

const files = [
  { name: 'd:/ymir work/pc/warrior.msm', content: Buffer.from('warrior '.repeat(50)), encrypted: false },
  { name: 'empty.txt', content: Buffer.alloc(0), encrypted: false },
  { name: 'root\\game.py', content: noise('game', 3000), encrypted: true },
]

describe('openPck()', () => {
  it.each([
    ['xchacha20', 'pck-xchacha20'],
    ['camellia', 'pck-camellia'],
  ] as const)('imports the %s variant', async (variant, format) => {
    const pack = await openPck(memorySource(writePck(files, variant)))
    expect(pack.format).toBe(format)
    expect(pack.files.map(({ path }) => path)).toEqual(['d:/ymir work/pc/warrior.msm', 'empty.txt', 'root/game.py'])
    for (const [index, file] of pack.files.entries())
      expect(Buffer.compare(await file.read(), files[index]!.content)).toBe(0)
  })

  it('takes another key, and says when the key is wrong', async () => {
    const key = noise('other', 32)
    const bytes = writePck(files, 'xchacha20', key)
    expect((await openPck(memorySource(bytes), { key })).files.length).toBe(3)
    await expect(openPck(memorySource(bytes))).rejects.toMatchObject({ code: 'M2P_LEGACY' })
  })

  it('refuses what is not a pack, and paths that leave the folder', async () => {
    await expect(openPck(memorySource(noise('junk', 500)))).rejects.toBeInstanceOf(M2pError)
    const evil = writePck([{ name: '../evil', content: Buffer.from('x'), encrypted: false }], 'xchacha20')
    await expect(openPck(memorySource(evil))).rejects.toMatchObject({ code: 'M2P_LEGACY' })
    const cut = writePck(files, 'xchacha20').subarray(0, -1)
    await expect(openPck(memorySource(cut))).rejects.toMatchObject({ code: 'M2P_LEGACY' })
  })
})

describe('openEterPack()', () => {
  const eter = [
    { name: 'raw.txt', content: Buffer.from('raw'), type: 0 },
    { name: 'd:\\ymir work\\a.gr2', content: Buffer.from('lzo '.repeat(200)), type: 1 },
    { name: 'game.py', content: noise('py', 777), type: 2 },
    { name: 'panama.bin', content: Buffer.from('?'), type: 3 },
    { name: 'hybrid.bin', content: Buffer.from('?'), type: 5 },
    { name: 'gone', content: Buffer.from('x'), type: 0, free: true },
  ]

  it.each([false, true])('imports types 0, 1, 2 and names the others (packed index: %s)', async (packed) => {
    const { index, contents } = writeEterPack(eter, packed)
    const pack = await openEterPack(index, memorySource(contents))
    expect(pack.files.map(({ path, refusal }) => [path, refusal === undefined])).toEqual([
      ['raw.txt', true],
      ['d:/ymir work/a.gr2', true],
      ['game.py', true],
      ['panama.bin', false],
      ['hybrid.bin', false],
    ])
    for (const [at, file] of pack.files.entries()) {
      if (file.refusal === undefined) expect(Buffer.compare(await file.read(), eter[at]!.content)).toBe(0)
      else await expect(file.read()).rejects.toMatchObject({ code: 'M2P_LEGACY' })
    }
  })

  it('notices damage', async () => {
    const { index, contents } = writeEterPack(eter, true)
    contents[contents.indexOf('MCOZ', 300) + 30]! ^= 1
    const pack = await openEterPack(index, memorySource(contents))
    const results = await Promise.allSettled(pack.files.slice(0, 3).map((file) => file.read()))
    expect(results.some(({ status }) => status === 'rejected')).toBe(true)
    index[20]! ^= 1
    await expect(openEterPack(index, memorySource(contents))).rejects.toMatchObject({ code: 'M2P_LEGACY' })
  })
})
