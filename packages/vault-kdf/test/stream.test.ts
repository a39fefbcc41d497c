import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { concatBytes, hexDecode, hexEncode } from '@keyturn/primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryStore, SealedStream, Vault, openStream, sealStream, sealedStreamBytes } from '../src/index.ts'
import type { ByteStream, Cell } from '../src/index.ts'
import { STREAM_CHUNK_BYTES } from '../src/limits.ts'
import { memoryProvider } from '../src/testing/index.ts'

interface Case {
  secret: string
  length: number
  sealedLength: number
  sealedSha256: string
  sealed?: string
}

const { streams } = JSON.parse(readFileSync(new URL('vectors/streams.json', import.meta.url), 'utf8')) as {
  streams: Case[]
}
const counter = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index % 251)
const secret = new Uint8Array(32).fill(9)
const code = (name: string): unknown => expect.objectContaining({ code: name })
const TAG = 16
const HEADER = 8

async function all(source: ByteStream): Promise<Uint8Array> {
  const parts = []
  for await (const part of source) parts.push(part)
  return concatBytes(...parts)
}

/** The same bytes in pieces of these sizes, over and over. */
function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    yield bytes.slice(at, at + size)
    at += size
  }
}

const sourceOf = (bytes: Uint8Array): { size: number; read(offset: number, length: number): Uint8Array } => ({
  size: bytes.length,
  read: (offset, length) => bytes.slice(offset, offset + length),
})

describe('sealed streams', () => {
  it.each(streams)('agree with the independent implementation: $length bytes', async (vector) => {
    const sealed = await all(sealStream(hexDecode(vector.secret), [counter(vector.length)]))
    expect(sealed.length).toBe(vector.sealedLength)
    expect(sealed.length).toBe(sealedStreamBytes(vector.length))
    expect(createHash('sha256').update(sealed).digest('hex')).toBe(vector.sealedSha256)
    if (vector.sealed !== undefined) expect(hexEncode(sealed)).toBe(vector.sealed)
    expect(await all(openStream(hexDecode(vector.secret), [sealed]))).toEqual(counter(vector.length))
  })

  it('the sizes of the pieces change nothing, and every range is the same as of the plaintext', async () => {
    const plaintext = counter(2 * STREAM_CHUNK_BYTES + 4321)
    const whole = await all(sealStream(secret, [plaintext]))
    const stream = await SealedStream.open(secret, sourceOf(whole), plaintext.length)
    const sizes = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 4 })
    const bound = fc.integer({ min: 0, max: plaintext.length })
    await fc.assert(
      fc.asyncProperty(sizes, sizes, bound, bound, async (one, two, a, b) => {
        const sealed = await all(sealStream(secret, pieces(plaintext, [...one, 20_000])))
        expect(Buffer.compare(sealed, whole)).toBe(0)
        expect(Buffer.compare(await all(openStream(secret, pieces(sealed, [...two, 20_000]))), plaintext)).toBe(0)
        const [start, end] = a < b ? [a, b] : [b, a]
        const part = await all(stream.range(start, end))
        expect(Buffer.compare(part, plaintext.subarray(start, end))).toBe(0)
        expect(Buffer.compare(await stream.read(start, end - start), part)).toBe(0)
      }),
      { numRuns: 25 },
    )
    await expect(stream.read(0, plaintext.length + 1)).rejects.toThrow(RangeError)
    await expect(stream.read(-1, 1)).rejects.toThrow(RangeError)
    stream.close()
    await expect(stream.read(0, 1)).rejects.toThrow(TypeError)
  })

  it('openStream() refuses a cut at every length of a short stream, and at the borders of chunks of a long one', async () => {
    const short = await all(sealStream(secret, [counter(40)]))
    for (let length = 0; length < short.length; length++)
      await expect(all(openStream(secret, [short.subarray(0, length)]))).rejects.toEqual(code('VK_STREAM'))
    const long = await all(sealStream(secret, [counter(2 * STREAM_CHUNK_BYTES + 1)]))
    const border = HEADER + STREAM_CHUNK_BYTES + TAG
    for (const length of [border - 1, border, border + 1, 2 * border - HEADER, long.length - 1])
      await expect(all(openStream(secret, [long.subarray(0, length)]))).rejects.toEqual(code('VK_STREAM'))
    await expect(all(openStream(secret, [long, new Uint8Array(1)]))).rejects.toEqual(code('VK_STREAM'))
  })

  it('openStream() refuses every flipped bit, chunks in another order, and the key of another stream', async () => {
    const short = await all(sealStream(secret, [counter(5)]))
    for (let bit = 0; bit < short.length * 8; bit++) {
      const damaged = short.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      await expect(all(openStream(secret, [damaged]))).rejects.toEqual(code('VK_STREAM'))
    }
    const long = await all(sealStream(secret, [counter(2 * STREAM_CHUNK_BYTES)]))
    const [first, second] = [
      long.subarray(HEADER, HEADER + STREAM_CHUNK_BYTES + TAG),
      long.subarray(HEADER + STREAM_CHUNK_BYTES + TAG),
    ]
    await expect(all(openStream(secret, [long.subarray(0, HEADER), second, first]))).rejects.toEqual(code('VK_STREAM'))
    await expect(all(openStream(secret, [long.subarray(0, HEADER), first, first]))).rejects.toEqual(code('VK_STREAM'))
    await expect(all(openStream(new Uint8Array(32), [short]))).rejects.toEqual(code('VK_STREAM'))
    await expect(all(openStream(new Uint8Array(31), [short]))).rejects.toThrow(RangeError)
  })

  it('SealedStream.open() compares the length, and a range in a damaged chunk is refused while others are read', async () => {
    const plaintext = counter(3 * STREAM_CHUNK_BYTES)
    const sealed = await all(sealStream(secret, [plaintext]))
    const cut = sealed.subarray(0, HEADER + 2 * (STREAM_CHUNK_BYTES + TAG))
    await expect(SealedStream.open(secret, sourceOf(cut), plaintext.length)).rejects.toEqual(code('VK_STREAM'))
    await expect(SealedStream.open(secret, sourceOf(sealed.fill(0, 0, 1)), plaintext.length)).rejects.toEqual(
      code('VK_STREAM'),
    )
    sealed[0] = 0x89
    sealed[HEADER + STREAM_CHUNK_BYTES + TAG] = (sealed[HEADER + STREAM_CHUNK_BYTES + TAG] ?? 0) ^ 1
    const stream = await SealedStream.open(secret, sourceOf(sealed), plaintext.length)
    expect(await stream.read(0, 10)).toEqual(plaintext.slice(0, 10))
    await expect(stream.read(STREAM_CHUNK_BYTES, 1)).rejects.toMatchObject({ code: 'VK_STREAM', details: { chunk: 1 } })
    const short = {
      ...sourceOf(sealed),
      read: (offset: number, length: number) => sealed.slice(offset, offset + length - 1),
    }
    const ending = SealedStream.open(
      secret,
      { ...short, read: (o, l) => (o === 0 ? sealed.slice(0, l) : short.read(o, l)) },
      plaintext.length,
    )
    await expect((await ending).read(0, 1)).rejects.toEqual(code('VK_STREAM'))
  })

  it('64 MiB go through in two chunks of memory', async () => {
    let inFlight = 0
    let most = 0
    function* source(): Generator<Uint8Array> {
      for (let index = 0; index < 1024; index++) {
        inFlight += STREAM_CHUNK_BYTES
        most = Math.max(most, inFlight)
        yield new Uint8Array(STREAM_CHUNK_BYTES)
      }
    }
    let bytes = 0
    for await (const part of sealStream(secret, source())) {
      if (part.length > HEADER) inFlight -= part.length - TAG
      bytes += part.length
    }
    expect(bytes).toBe(sealedStreamBytes(1024 * STREAM_CHUNK_BYTES))
    expect(most).toBeLessThanOrEqual(2 * STREAM_CHUNK_BYTES)
  })
})

describe('streams of a cell', () => {
  async function cellOf(): Promise<{ vault: Vault; cell: Cell; store: MemoryStore }> {
    const store = new MemoryStore()
    const vault = await Vault.create(store, memoryProvider(), { lazyResealsPerSecond: 0 })
    return { vault, store, cell: vault.partition('p').cell('c') }
  }
  const content = counter(STREAM_CHUNK_BYTES + 99)

  it('a rotation, a sweep and the end of the old master leave the sealed bytes as they are, and they open', async () => {
    const { vault, cell } = await cellOf()
    const sealed = await all(cell.sealStream('film', pieces(content, [1000])))
    await vault.keys.rotate()
    expect(await vault.sweep()).toMatchObject({ remaining: 0 })
    await vault.keys.retire(1)
    await vault.keys.destroy(1, { quarantineMs: 0 })
    expect(await all(cell.openStream('film', pieces(sealed, [777])))).toEqual(content)
    const stream = await cell.openSealed('film', sourceOf(sealed))
    expect(stream.size).toBe(content.length)
    expect(await stream.read(STREAM_CHUNK_BYTES - 2, 4)).toEqual(
      content.slice(STREAM_CHUNK_BYTES - 2, STREAM_CHUNK_BYTES + 2),
    )
    stream.close()
  })

  it('a stream that was cut, that goes on, or that belongs to another record is refused', async () => {
    const { cell } = await cellOf()
    const sealed = await all(cell.sealStream('a', [content]))
    const other = await all(cell.sealStream('b', [content]))
    for (const wrong of [other, sealed.subarray(0, HEADER + STREAM_CHUNK_BYTES + TAG), concatBytes(sealed, other)]) {
      await expect(all(cell.openStream('a', [wrong]))).rejects.toEqual(code('VK_STREAM'))
      if (wrong !== other) await expect(cell.openSealed('a', sourceOf(wrong))).rejects.toEqual(code('VK_STREAM'))
    }
    await cell.sealText('plain', 'text')
    await expect(all(cell.openStream('plain', [sealed]))).rejects.toEqual(code('VK_FORMAT'))
    await expect(all(cell.openStream('none', [sealed]))).rejects.toEqual(code('VK_NOT_FOUND'))
  })

  it('a source or a consumer that stops early leaves no record, and what was there before still opens', async () => {
    const { cell } = await cellOf()
    const before = await all(cell.sealStream('a', [content]))
    function* failing(): Generator<Uint8Array> {
      yield content
      throw new Error('the disk is gone')
    }
    await expect(all(cell.sealStream('a', failing(), { expected: 'any' }))).rejects.toThrow('the disk is gone')
    for await (const part of cell.sealStream('a', [content], { expected: 'any' })) if (part.length > HEADER) break
    expect(await all(cell.openStream('a', [before]))).toEqual(content)
    await expect(all(cell.sealStream('a', failing()))).rejects.toEqual(code('VK_CONFLICT')) // before the source is read
    const after = await all(cell.sealStream('a', [content], { expected: 'any' }))
    expect(await all(cell.openStream('a', [after]))).toEqual(content)
    await expect(all(cell.openStream('a', [before]))).rejects.toEqual(code('VK_STREAM'))
  })

  it('an erased partition takes its streams with it', async () => {
    const { vault, cell } = await cellOf()
    await vault.partition('p').makeErasable()
    const sealed = await all(cell.sealStream('a', [content]))
    await vault.partition('p').erase({ irreversiblyErase: 'p' })
    await expect(all(cell.openStream('a', [sealed]))).rejects.toEqual(code('VK_NOT_FOUND'))
    await expect(all(cell.sealStream('a', [content]))).rejects.toEqual(code('VK_PARTITION_ERASED'))
  })
})
