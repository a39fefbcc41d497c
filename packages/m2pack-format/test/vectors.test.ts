import { equalBytes, hexDecode, hexEncode } from '@keyturn/primitives'
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { buildArchive, MemorySink, memorySource, openArchive, rewrapArchive } from '../src/index.ts'
import { segmentAt } from '../src/entries.ts'
import { SlotKey } from '../src/keys.ts'
import {
  contentBytes,
  contentKeyOf,
  filesOf,
  haveVectors,
  loadVectors,
  slotsOf,
  vectorBytes,
} from './support/vectors.ts'
import type { VectorArchive } from './support/vectors.ts'

const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describe.skipIf(!haveVectors)('archives made by an independent implementation', () => {
  const vectors = haveVectors
    ? loadVectors()
    : { archives: [], public_key: '', signing_seed: '', steps: [], rewrap_difference: undefined as never }
  const byName = new Map(vectors.archives.map((archive) => [archive.file, archive]))
  const signingSeed = hexDecode(vectors.signing_seed)

  function open(archive: VectorArchive) {
    return openArchive(memorySource(vectorBytes(archive.file)), {
      verifiers: new Map([[archive.key_id, hexDecode(vectors.public_key)]]),
      contentKey: contentKeyOf(archive),
    })
  }

  async function build(archive: VectorArchive): Promise<Uint8Array> {
    const sink = new MemorySink()
    const { options } = archive
    if (options.rewrap !== undefined) {
      const before = await open(byName.get(options.rewrap) as VectorArchive)
      await rewrapArchive(before, sink, { contentKey: contentKeyOf(archive), signingSeed })
      return sink.bytes()
    }
    const previous =
      options.previous === undefined ? undefined : await open(byName.get(options.previous) as VectorArchive)
    await buildArchive(filesOf(archive), sink, {
      contentKey: contentKeyOf(archive),
      signingSeed,
      slots: slotsOf(archive),
      level: options.level,
      segmentSize: options.segment_size,
      align: options.align ?? 1,
      ymirPrefix: options.ymir_prefix ?? false,
      full: options.full ?? false,
      previous,
    })
    return sink.bytes()
  }

  it('openArchive() meets every expectation of all 14 archives and 2,061 entries', async () => {
    let archives = 0
    let entries = 0
    for (const expected of vectors.archives) {
      const bytes = vectorBytes(expected.file)
      expect(sha256Hex(bytes)).toBe(expected.sha256)
      const archive = await open(expected)
      expect(archive.slotNumbers).toEqual(expected.slots_in_archive)
      expect(archive.entries.length).toBe(expected.entries.length)
      for (const [index, due] of expected.entries.entries()) {
        const entry = archive.entries[index]
        if (entry === undefined) throw new Error('entry missing')
        expect({
          path: entry.path,
          offset: entry.offset,
          size: entry.size,
          sha256: hexEncode(entry.sha256),
          slot: entry.slot,
          compression: entry.compression === 'zstd' ? 1 : 0,
          segments: due.segments.map((_, segment) => {
            const { storedSize, nonce } = segmentAt(entry, segment)
            return { stored: storedSize, nonce: hexEncode(nonce) }
          }),
        }).toEqual({ ...due, file_key: undefined, content: undefined })
        const slot = slotsOf(expected).get(entry.slot)
        if (slot === undefined) throw new Error('slot missing')
        expect(hexEncode(new SlotKey(slot).fileKey(entry.pathBytes, entry.sha256))).toBe(due.file_key)
        expect(equalBytes(await archive.read(entry.path), contentBytes(due.content))).toBe(true)
        entries++
      }
      expect((await archive.verify()).ok).toBe(true)
      archive.dispose()
      archives++
    }
    expect({ archives, entries }).toEqual({ archives: 14, entries: 2061 })
  })

  it('buildArchive() and rewrapArchive() make 12 of them byte for byte', async () => {
    let equal = 0
    for (const expected of vectors.archives) {
      const built = await build(expected)
      if (expected.byte_equal) {
        expect(sha256Hex(built), expected.file).toBe(expected.sha256)
        equal++
        continue
      }
      // Compressed bytes depend on the zstd version: what is stored as it is must be equal all the same.
      const theirs = vectorBytes(expected.file)
      const ours = await openArchive(memorySource(built), { verifiers: 'unchecked' })
      for (const due of expected.entries.filter((entry) => entry.compression === 0)) {
        const entry = ours.entry(due.path)
        const stored = due.segments.reduce((sum, segment) => sum + segment.stored, 0)
        expect(entry.storedSize).toBe(stored)
        expect(
          equalBytes(
            built.subarray(entry.offset, entry.offset + stored),
            theirs.subarray(due.offset, due.offset + stored),
          ),
        ).toBe(true)
      }
    }
    expect(equal).toBe(12)
  })

  it('rewrapArchive() changes no more than 136 bytes and 72 a slot', () => {
    const { before, after, differing_bytes: differing, at_most: atMost } = vectors.rewrap_difference
    const left = vectorBytes(before)
    const right = vectorBytes(after)
    expect(left.length).toBe(right.length)
    let count = 0
    for (const [index, byte] of left.entries()) if (byte !== right[index]) count++
    expect(count).toBe(differing)
    expect(count).toBeLessThanOrEqual(atMost)
    expect(atMost).toBe(136 + 72 * 2)
  })
})
