import { ed25519PublicKey, equalBytes } from '@keyturn/primitives'
import { readdirSync, readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import {
  blobSource,
  buildArchive,
  exportClientConfig,
  M2pError,
  MemorySink,
  memorySource,
  openArchive,
  rewrapArchive,
} from '../src/index.ts'
import type { ByteSource } from '../src/index.ts'
import { contentKey, craft, plainFiles, publicKey, seed, slots, text, verifiers } from './support/craft.ts'
import { noise } from './support/tree.ts'

const big = noise('big', 300_000)

async function sample(): Promise<Uint8Array> {
  const sink = new MemorySink()
  const files = [
    { path: 'Big.bin', source: memorySource(big) },
    { path: 'a.txt', source: memorySource(text('hello '.repeat(5000))) },
    { path: 'empty', source: memorySource(new Uint8Array(0)) },
  ]
  await buildArchive(files, sink, { contentKey, signingSeed: seed, slots, segmentSize: 65_536 })
  return sink.bytes()
}

class CountingSource implements ByteSource {
  readonly reads: [number, number][] = []
  readonly size: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.size = bytes.length
  }

  read(offset: number, length: number): Uint8Array {
    this.reads.push([offset, length])
    return this.#bytes.subarray(offset, offset + length)
  }
}

async function collect(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const part of parts) all.push(part)
  return Buffer.concat(all)
}

describe('openArchive()', () => {
  it('reads one file by touching header, manifest and that file alone', async () => {
    const source = new CountingSource(await sample())
    const archive = await openArchive(source, { verifiers, contentKey })
    const entry = archive.entry('a.txt')
    const { manifestOffset, manifestSize } = archive.header
    await archive.read('a.txt')
    for (const [offset, length] of source.reads) {
      const inHeader = offset + length <= 128
      const inManifest = offset === manifestOffset && length === manifestSize
      const inFile = offset >= entry.offset && offset + length <= entry.offset + entry.storedSize
      expect(inHeader || inManifest || inFile).toBe(true)
    }
  })

  it('gives any range, and the same bytes whatever the range', async () => {
    const archive = await openArchive(blobSource(new Blob([new Uint8Array(await sample())])), { verifiers, contentKey })
    for (const [start, end] of [
      [0, 0],
      [0, 1],
      [65_535, 65_537],
      [65_536, 131_072],
      [100_000, 300_000],
      [299_999, 300_000],
      [300_000, 300_000],
      [0, 300_000],
    ] as const) {
      expect(
        equalBytes(await collect(archive.stream('Big.bin', { start, end })), big.subarray(start, end)),
        `${start} ${end}`,
      ).toBe(true)
    }
    await expect(collect(archive.stream('Big.bin', { start: 5, end: 4 }))).rejects.toBeInstanceOf(RangeError)
    await expect(collect(archive.stream('Big.bin', { end: 300_001 }))).rejects.toBeInstanceOf(RangeError)
  })

  it("refuses a part of a file that a holder of the content key forged: its nonce is not the publisher's", async () => {
    const name = readdirSync(new URL('broken/', import.meta.url)).find((file) => file.includes('forged')) as string
    const bytes = new Uint8Array(readFileSync(new URL(`broken/${name}`, import.meta.url)))
    const archive = await openArchive(memorySource(bytes), { verifiers, contentKey })
    await expect(collect(archive.stream('a/one.txt', { start: 2, end: 5 }))).rejects.toMatchObject({
      code: 'M2P_NONCE',
      kind: 'auth',
    })
    await expect(archive.read('a/one.txt')).rejects.toMatchObject({ code: 'M2P_HASH' })
    expect((await archive.read('a/two.txt')).length).toBe(24)
  })

  it('finds files by exact path, folded only when asked', async () => {
    const archive = await openArchive(memorySource(await sample()), { verifiers, contentKey })
    await expect(archive.read('big.bin')).rejects.toMatchObject({ code: 'M2P_ENTRY_UNKNOWN', kind: 'usage' })
    expect((await archive.read('bIG.BIN', { fold: true })).length).toBe(300_000)
  })

  it('refuses a retired key_id (row 12), and a public key that proves nothing', async () => {
    const bytes = await sample()
    await expect(openArchive(memorySource(bytes), { verifiers, retiredKeyIds: new Set([7]) })).rejects.toMatchObject({
      code: 'M2P_KEY_RETIRED',
      kind: 'policy',
    })
    const weak = new Map([[7, new Uint8Array(32)]])
    await expect(openArchive(memorySource(bytes), { verifiers: weak })).rejects.toMatchObject({
      code: 'M2P_KEY_INVALID',
    })
  })

  it('does not try other keys for an unknown key_id (row 13)', async () => {
    const other = new Map([[9, publicKey]])
    await expect(openArchive(memorySource(await sample()), { verifiers: other })).rejects.toMatchObject({
      code: 'M2P_KEY_ID_UNKNOWN',
    })
  })

  it('refuses a wrong content key before any payload is touched (rows 14, 17)', async () => {
    const source = new CountingSource(await sample())
    const wrong = { keyId: 7, key: new Uint8Array(32).fill(1) }
    await expect(openArchive(source, { verifiers, contentKey: wrong })).rejects.toMatchObject({
      code: 'M2P_KEY_COMMITMENT',
    })
    await expect(openArchive(source, { verifiers, contentKey: { ...contentKey, keyId: 8 } })).rejects.toMatchObject({
      code: 'M2P_KEY_ID_MISMATCH',
    })
    expect(source.reads.filter(([offset]) => offset >= 128 && offset < 1000)).toEqual([])
  })

  it('decrypts nothing from an archive whose signature was not checked', async () => {
    const bytes = await sample()
    await expect(openArchive(memorySource(bytes), { verifiers: 'unchecked', contentKey })).rejects.toBeInstanceOf(
      TypeError,
    )
    const archive = await openArchive(memorySource(bytes), { verifiers: 'unchecked' })
    expect(archive.signatureChecked).toBe(false)
    await expect(archive.read('a.txt')).rejects.toBeInstanceOf(TypeError)
  })

  it('has limits that options raise and lower', async () => {
    const source = memorySource(await sample())
    for (const limits of [{ entryCount: 2 }, { manifestBytes: 100 }, { fileBytes: 299_999 }]) {
      await expect(openArchive(source, { verifiers, limits })).rejects.toMatchObject({ code: 'M2P_LIMIT' })
    }
  })

  it('reads nothing more once disposed of, and prints no secret', async () => {
    const archive = await openArchive(memorySource(craft()), { verifiers, contentKey })
    const shown = inspect(archive, { depth: 8, showHidden: true }) + JSON.stringify(archive.slotNumbers)
    for (const secret of [contentKey.key, ...slots.values()]) {
      expect(shown).not.toContain(Buffer.from(secret).toString('hex').slice(0, 16))
      expect(shown).not.toContain(Array.from(secret.subarray(0, 8)).join(', '))
    }
    archive.dispose()
    await expect(archive.read('b.bin')).rejects.toBeInstanceOf(TypeError)
  })

  it('stops on its signal, with the reason of the signal', async () => {
    const archive = await openArchive(memorySource(await sample()), { verifiers, contentKey })
    const reason = new Error('enough')
    await expect(archive.verify({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect(collect(archive.stream('Big.bin', { signal: AbortSignal.abort(reason) }))).rejects.toBe(reason)
  })

  it('refuses every single flipped bit of an archive (row 6)', async () => {
    const sound = craft({ files: plainFiles().slice(0, 2) })
    let accepted = 0
    for (let bit = 0; bit < sound.length * 8; bit++) {
      const bytes = sound.slice()
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      try {
        const archive = await openArchive(memorySource(bytes), { verifiers, contentKey })
        if ((await archive.verify()).ok) accepted++
      } catch (error) {
        expect(error).toBeInstanceOf(M2pError)
      }
    }
    expect(accepted).toBe(0)
  })

  it('refuses every cut of an archive (row 4)', async () => {
    const sound = craft()
    for (let cut = 0; cut < sound.length; cut++) {
      await expect(openArchive(memorySource(sound.subarray(0, cut)), { verifiers, contentKey })).rejects.toMatchObject({
        code: 'M2P_TRUNCATED',
      })
    }
  })
})

describe('writers', () => {
  it('refuse a content key of zeros, which no client would take', async () => {
    const zero = { contentKey: { keyId: 8, key: new Uint8Array(32) }, signingSeed: seed }
    const file = { path: 'a', source: memorySource(text('a')) }
    const archive = await openArchive(memorySource(await sample()), { verifiers, contentKey })
    for (const write of [
      () => buildArchive([file], new MemorySink(), zero),
      () => rewrapArchive(archive, new MemorySink(), zero),
    ])
      await expect(write()).rejects.toMatchObject({ code: 'M2P_KEY_INVALID' })
  })
})

describe('exportClientConfig()', () => {
  const keys = new Map([
    [3, publicKey],
    [1, ed25519PublicKey(new Uint8Array(32).fill(8))],
  ])

  it('writes public keys in slots and no content key', () => {
    const header = exportClientConfig(keys, { mappingName: 'Local\\My"Keys' })
    expect(header).toContain('kVerifierKeyIds[kVerifierCount] = {1u, 3u}')
    expect(header).toContain('kDefaultKeyId = 3u')
    expect(header).toContain('"Local\\\\My\\"Keys"')
    expect(exportClientConfig(keys, { language: 'ts', defaultKeyId: 1 })).toContain('export const defaultKeyId = 1')
  })

  it('refuses weak keys and a default without verifier', () => {
    expect(() => exportClientConfig(new Map([[1, new Uint8Array(32)]]))).toThrow(M2pError)
    expect(() => exportClientConfig(keys, { defaultKeyId: 2 })).toThrow(RangeError)
  })
})
