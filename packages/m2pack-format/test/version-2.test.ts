import { ed25519PublicKey, equalBytes, hexDecode, hexEncode, sha256Hex } from '@keyturn/primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { segmentAt } from '../src/entries.ts'
import { buildArchive, M2pError, MemorySink, memorySource, openArchive } from '../src/index.ts'
import type { Archive, BuildFormatOptions } from '../src/index.ts'
import { contentKey, publicKey, seed, slots, verifiers } from './support/craft.ts'
import { craft2, plainFiles2 } from './support/craft-v2.ts'
import { randomOf } from './support/mutate.ts'
import { loadVectorsV2 } from './support/vectors-v2.ts'
import type { VectorArchive } from './support/vectors-v2.ts'

const vectors = loadVectorsV2()
const SEGMENT = 65_536

async function openVector(vector: VectorArchive): Promise<Archive> {
  return openArchive(memorySource(hexDecode(vector.archive)), {
    verifiers: new Map([[vector.key_id, hexDecode(vector.public_key)]]),
    contentKey: { keyId: vector.key_id, key: hexDecode(vector.content_key) },
  })
}

/** Bytes that look random, or like text, and are the same in every run. */
function content(length: number, seedNumber: number, alphabet = 256): Uint8Array {
  const random = randomOf(seedNumber)
  return new Uint8Array(length).map(() => random() % alphabet)
}

async function build(
  files: Record<string, Uint8Array>,
  options: BuildFormatOptions & { previous?: Archive; slots?: Map<number, Uint8Array> } = {},
): Promise<Uint8Array> {
  const sink = new MemorySink()
  const list = Object.entries(files).map(([path, bytes]) => ({ path, source: memorySource(bytes) }))
  const keys = { contentKey, signingSeed: seed, slots }
  await buildArchive(list, sink, { ...keys, version: 2, segmentSize: SEGMENT, level: 3, ...options })
  return sink.bytes()
}

const open = (bytes: Uint8Array): Promise<Archive> => openArchive(memorySource(bytes), { verifiers, contentKey })

describe('version 2: vectors of a second implementation', () => {
  it.each(['plain', 'sealed', 'segments'] as const)(
    '%s opens, with every value that the vectors name',
    async (name) => {
      const vector = vectors[name]
      const archive = await openVector(vector)
      expect(archive.version).toBe(2)
      expect(archive.segmentSize).toBe(vector.segment_size)
      expect(archive.sealed).toBe((vector.flags & 2) !== 0)
      expect(archive.entries.map(({ path }) => path)).toEqual(vector.files.map(({ path }) => path))
      for (const file of vector.files) {
        const entry = archive.entry(file.path)
        expect({ offset: entry.offset, size: entry.size, slot: entry.slot, executable: entry.executable }).toEqual({
          offset: file.offset,
          size: file.size,
          slot: file.slot,
          executable: file.executable,
        })
        expect(entry.mtimeMs).toBe(file.mtime_ms)
        for (const [index, segment] of file.segments.entries()) {
          const { storedSize, nonce } = segmentAt(entry, index)
          expect(storedSize).toBe(segment.stored_size)
          expect(hexEncode(nonce)).toBe(segment.nonce)
        }
        expect(sha256Hex(await archive.read(file.path))).toBe(file.sha256)
      }
      expect(await archive.verify()).toMatchObject({ ok: true, filesChecked: vector.files.length })
    },
  )

  it.each(['plain', 'sealed'] as const)('%s is what the writer makes, to the byte', async (name) => {
    const vector = vectors[name]
    const archive = await openVector(vector)
    const sink = new MemorySink()
    const files = await Promise.all(
      vector.files.map(async ({ path, executable, mtime_ms }) => ({
        path,
        source: memorySource(await archive.read(path)),
        executable,
        mtimeMs: mtime_ms,
      })),
    )
    await buildArchive(files, sink, {
      contentKey: { keyId: vector.key_id, key: hexDecode(vector.content_key) },
      signingSeed: hexDecode(vector.signing_seed),
      slots: new Map(vector.slots.map(({ number, secret }) => [number, hexDecode(secret)])),
      version: 2,
      align: vector.align,
      mtimes: (vector.flags & 4) !== 0,
      sealTable: (vector.flags & 2) !== 0,
    })
    expect(hexEncode(sink.bytes())).toBe(vector.archive)
    expect(hexEncode(ed25519PublicKey(hexDecode(vector.signing_seed)))).toBe(vector.public_key)
  })
})

describe('version 2: reading', () => {
  it('what was packed comes out, whole, by range and as a stream', async () => {
    const files = {
      empty: new Uint8Array(0),
      small: content(1000, 1, 8),
      noise: content(400_000, 2),
      text: content(500_000, 3, 4),
      zeros: new Uint8Array(900_000),
    }
    const archive = await open(await build(files, { align: 512 }))
    expect(await archive.verify()).toMatchObject({ ok: true, filesChecked: 5 })
    for (const [path, bytes] of Object.entries(files)) {
      expect(equalBytes(await archive.read(path), bytes), path).toBe(true)
      const entry = archive.entry(path)
      await fc.assert(
        fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (one, other) => {
          const [start, end] = one < other ? [one, other] : [other, one]
          const parts: Uint8Array[] = []
          for await (const part of archive.stream(path, { start, end })) parts.push(part.slice())
          expect(equalBytes(Buffer.concat(parts), bytes.subarray(start, end))).toBe(true)
        }),
        { numRuns: 20 },
      )
      if (path === 'zeros') expect(entry.segmentCount).toBe(4)
    }
    expect(archive.entry('noise').compression).toBe('none')
    expect(archive.entry('text').compression).toBe('zstd')
  })

  it('a range reads the segments that hold it and no others', async () => {
    const bytes = await build({ noise: content(600_000, 9) })
    const asked: [number, number][] = []
    const source = {
      size: bytes.length,
      read: async (offset: number, length: number) => (
        asked.push([offset, length]),
        bytes.slice(offset, offset + length)
      ),
    }
    const archive = await openArchive(source, { verifiers, contentKey })
    asked.length = 0
    for await (const part of archive.stream('noise', { start: 300_000, end: 300_001 })) expect(part.length).toBe(1)
    expect(asked.length).toBe(1)
    expect(asked[0]?.[1]).toBeLessThanOrEqual(SEGMENT * 4 + 16)
  })

  it('a segment forged by a holder of the content key is refused however it is read', async () => {
    const sound = craft2()
    const { FileCipher } = await import('../src/segment.ts')
    const { SlotKey } = await import('../src/keys.ts')
    const entry = (await open(sound)).entry('a/one.txt')
    const cipher = new FileCipher(new SlotKey(slots.get(1) as Uint8Array), entry.pathBytes)
    const evil = cipher.sealUnder(0, new TextEncoder().encode('evil! file, first folder'), segmentAt(entry, 0).nonce)
    const forged = sound.slice()
    forged.set(evil, entry.offset)
    const archive = await open(forged)
    await expect(archive.read('a/one.txt')).rejects.toMatchObject({ code: 'M2P_NONCE' })
    await expect(archive.stream('a/one.txt').next()).rejects.toMatchObject({ code: 'M2P_NONCE' })
    expect((await archive.verify()).failures).toMatchObject([{ path: 'a/one.txt', code: 'M2P_NONCE' }])
  })

  it('segments cannot change places, be repeated or be left out', async () => {
    const big = { path: 'big', parts: [16_384, 16_384, 16_384].map((size, at) => ({ bytes: content(size, at) })) }
    const bytes = craft2({ files: [big] })
    const { offset } = (await open(bytes)).entry('big')
    const stored = [0, 1, 2].map((at) => bytes.slice(offset + at * 16_400, offset + (at + 1) * 16_400))
    for (const order of [
      [1, 0, 2],
      [0, 0, 2],
      [0, 2, 1],
      [2, 1, 0],
    ]) {
      const moved = bytes.slice()
      for (const [place, from] of order.entries()) moved.set(stored[from] as Uint8Array, offset + place * 16_400)
      const { failures } = await (await open(moved)).verify()
      expect(failures.map(({ code }) => code)).toEqual(['M2P_DECRYPT'])
    }
  })

  it('equal segments of a file are equal bytes, and those of another path, slot or version are not', async () => {
    const same = content(16_384, 5)
    const parts = [{ bytes: same }, { bytes: same }]
    const bytes = craft2({
      files: [
        { path: 'a', parts },
        { path: 'b', parts },
        { path: 'c', parts, slot: 2 },
      ],
    })
    const nonces = (await open(bytes)).entries.flatMap((entry) =>
      [0, 1].map((index) => hexEncode(segmentAt(entry, index).nonce)),
    )
    expect(nonces[0]).toBe(nonces[1])
    expect(new Set(nonces).size).toBe(3)
    const old = await build({ a: same }, { version: 1, slots: new Map([[1, slots.get(1) as Uint8Array]]) })
    expect(hexEncode(segmentAt((await open(old)).entry('a'), 0).nonce)).not.toBe(nonces[0])
  })

  it('a flipped bit anywhere is refused with a code, or the byte is none that is read', async () => {
    const sound = craft2({ files: plainFiles2().map((file) => ({ ...file, mtimeMs: 1 })), head: { mtimes: true } })
    const paths = (await open(sound)).entries.map(({ path }) => path)
    for (let at = 0; at < sound.length; at++) {
      const bytes = sound.slice()
      bytes[at]! ^= 1 << (at & 7)
      let refused = false
      try {
        const archive = await open(bytes)
        for (const path of paths) await archive.read(path)
      } catch (error) {
        expect(error).toBeInstanceOf(M2pError)
        refused = true
      }
      expect(refused, `byte ${at}`).toBe(true)
    }
  })

  it('a key of another archive, no verifier and a sealed table without a key are refused', async () => {
    const bytes = await build({ a: content(10, 1) }, { sealTable: true })
    const sealed = await openArchive(memorySource(bytes), { verifiers })
    expect(() => sealed.entries).toThrow(expect.objectContaining({ code: 'M2P_SEALED' }))
    const wrong = { keyId: 7, key: new Uint8Array(32) }
    await expect(openArchive(memorySource(bytes), { verifiers, contentKey: wrong })).rejects.toMatchObject({
      code: 'M2P_KEY_COMMITMENT',
    })
    await expect(openArchive(memorySource(bytes), { verifiers: new Map([[9, publicKey]]) })).rejects.toMatchObject({
      code: 'M2P_KEY_ID_UNKNOWN',
    })
  })
})

/** Bytes of payloads and table of `after` that are nowhere in `before`, by segment. */
async function changedBytes(before: Uint8Array, after: Uint8Array): Promise<number> {
  const storedOf = async (bytes: Uint8Array): Promise<Map<string, number>> => {
    const archive = await open(bytes)
    const found = new Map<string, number>()
    for (const entry of archive.entries) {
      let { offset } = entry
      for (let index = 0; index < entry.segmentCount; index++) {
        const { storedSize } = segmentAt(entry, index)
        found.set(sha256Hex(bytes.subarray(offset, offset + storedSize)), storedSize)
        offset += storedSize
      }
    }
    return found
  }
  const known = await storedOf(before)
  return [...(await storedOf(after))].reduce((sum, [digest, size]) => sum + (known.has(digest) ? 0 : size), 0)
}

describe('version 2: what a change costs', () => {
  const big = content(2_000_000, 11)
  const edits: [string, (bytes: Uint8Array) => Uint8Array][] = [
    ['one byte in the middle', (bytes) => (bytes.set([bytes[1_000_000]! ^ 1], 1_000_000), bytes)],
    ['the first byte', (bytes) => (bytes.set([bytes[0]! ^ 1]), bytes)],
    ['the last byte', (bytes) => (bytes.set([bytes.at(-1)! ^ 1], bytes.length - 1), bytes)],
    [
      'ten bytes inserted',
      (bytes) => Buffer.concat([bytes.subarray(0, 777_777), Buffer.alloc(10), bytes.subarray(777_777)]),
    ],
    ['ten bytes removed', (bytes) => Buffer.concat([bytes.subarray(0, 777_777), bytes.subarray(777_787)])],
    ['a byte appended', (bytes) => Buffer.concat([bytes, Buffer.of(1)])],
  ]

  it.each(edits)('%s: about one segment, with or without the previous archive', async (_name, edit) => {
    const before = await build({ big, 'z.txt': content(100, 1) })
    const changed = { big: new Uint8Array(edit(big.slice())), 'z.txt': content(100, 1) }
    for (const previous of [undefined, await open(before)]) {
      const after = await build(changed, previous === undefined ? {} : { previous })
      expect(await changedBytes(before, after)).toBeLessThanOrEqual(SEGMENT * 4 + 16)
      expect(await (await open(after)).verify()).toMatchObject({ ok: true })
    }
    // Version 1 seals the whole file again.
    const [one, two] = [await build({ big }, { version: 1 }), await build({ big: changed.big }, { version: 1 })]
    expect(await changedBytes(one, two)).toBeGreaterThan(big.length * 0.99)
  })

  it('an edit that makes the first segment compressible leaves the others alone', async () => {
    const before = await build({ big })
    const edited = big.slice()
    edited.fill(0, 0, 10_000)
    expect((await open(before)).entry('big').compression).toBe('none')
    const after = await build({ big: edited })
    expect((await open(after)).entry('big').compression).toBe('zstd')
    expect(await changedBytes(before, after)).toBeLessThanOrEqual(SEGMENT * 4 + 16)
  })

  it('a longer payload changes no other entry of the table', async () => {
    const rest = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`z${at}`, content(50, at)]))
    const [before, after] = [await build({ a: content(100, 1), ...rest }), await build({ a: content(300, 1), ...rest })]
    const table = async (bytes: Uint8Array): Promise<Uint8Array> => (await open(bytes)).manifestBytes
    const [left, right] = [await table(before), await table(after)]
    let same = 0
    while (left.at(-1 - same) === right.at(-1 - same)) same++
    expect(same).toBeGreaterThan(50 * 86)
  })

  it('another level or zstd costs nothing where the previous archive is at hand', async () => {
    const text = content(1_000_000, 4, 5)
    const before = await build({ text }, { level: 3 })
    const edited = text.slice()
    edited[500_000]! ^= 1
    const same = await build({ text }, { level: 19, previous: await open(before) })
    expect(await changedBytes(before, same)).toBe(0)
    const after = await build({ text: edited }, { level: 19, previous: await open(before) })
    expect(await changedBytes(before, after)).toBeLessThanOrEqual(SEGMENT * 4)
    expect(await changedBytes(before, await build({ text: edited }, { level: 19 }))).toBeGreaterThan(100_000)
  })

  it('segments that are damaged in the previous archive are sealed again', async () => {
    const before = await build({ big })
    const damaged = before.slice()
    damaged[128 + 500_000]! ^= 1
    const after = await build({ big }, { previous: await open(damaged) })
    expect(equalBytes(after, before)).toBe(true)
  })

  it('a changed file goes under the newest slot as a whole, an unchanged one stays', async () => {
    const [one, two] = [slots.get(1) as Uint8Array, slots.get(2) as Uint8Array]
    const before = await build({ big, same: big }, { slots: new Map([[1, one]]) })
    const edited = big.slice()
    edited[5]! ^= 1
    const rotated = new Map([
      [1, one],
      [2, two],
    ])
    const after = await open(await build({ big: edited, same: big }, { slots: rotated, previous: await open(before) }))
    expect(after.entries.map(({ slot }) => slot)).toEqual([2, 1])
    expect(await after.verify()).toMatchObject({ ok: true })
  })

  it('going from one version to the other keeps slots and seals every payload again', async () => {
    const old = await open(await build({ big }, { version: 1 }))
    const after = await build({ big }, { previous: old })
    expect(equalBytes(after, await build({ big }))).toBe(true)
    const back = await build({ big }, { version: 1, previous: await open(after) })
    expect(equalBytes(back, await build({ big }, { version: 1 }))).toBe(true)
  })
})

describe('version 2: options of the writer', () => {
  it('refuses what the format does not know', async () => {
    await expect(build({}, { version: 3 as never })).rejects.toThrow(RangeError)
    await expect(build({}, { segmentSize: 8 * 1024 * 1024 })).rejects.toThrow('to 4 MiB')
    await expect(build({}, { version: 1, mtimes: true })).rejects.toThrow('no room for times')
  })

  it('times before 1970 and after 9999 become the nearest that can be stored', async () => {
    const sink = new MemorySink()
    const files = [-5, 1.9, 1e18].map((mtimeMs, at) => ({
      path: `${at}`,
      source: memorySource(content(1, 1)),
      mtimeMs,
    }))
    await buildArchive(files, sink, { contentKey, signingSeed: seed, slots, version: 2, mtimes: true })
    const times = (await open(sink.bytes())).entries.map(({ mtimeMs }) => mtimeMs)
    expect(times).toEqual([0, 1, 253_402_300_799_999])
  })

  it('version 1 keeps neither the executable bit nor times', async () => {
    const sink = new MemorySink()
    const files = [{ path: 'a', source: memorySource(content(1, 1)), executable: true, mtimeMs: 1 }]
    await buildArchive(files, sink, { contentKey, signingSeed: seed, slots })
    expect((await open(sink.bytes())).entry('a')).toMatchObject({ executable: false, mtimeMs: undefined })
  })
})
