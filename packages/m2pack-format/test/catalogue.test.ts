import { readdirSync, readFileSync } from 'node:fs'
import { zstdCompressSync } from 'node:zlib'
import { concatBytes, equalBytes, sha256 } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { segmentAt } from '../src/entries.ts'
import { buildArchive, checkPath, foldPath, M2pError, MemorySink, memorySource, openArchive } from '../src/index.ts'
import { contentKey, craft, plainFiles, seed, slots, text, verifiers } from './support/craft.ts'

const folder = new URL('broken/', import.meta.url)
const names = readdirSync(folder)

async function refusal(name: string): Promise<string> {
  const source = memorySource(new Uint8Array(readFileSync(new URL(name, folder))))
  try {
    const archive = await openArchive(source, { verifiers, contentKey })
    return (await archive.verify()).failures[0]?.code ?? 'accepted'
  } catch (error) {
    if (error instanceof M2pError) return error.code
    throw error
  }
}

function littleEndian24(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff]
}

/** Every broken archive whose name matches is refused with one of the codes, and there are some. */
async function expectRefused(pattern: RegExp, ...codes: string[]): Promise<void> {
  const matching = names.filter((name) => pattern.test(name))
  expect(matching.length, String(pattern)).toBeGreaterThan(0)
  for (const name of matching) expect(codes, name).toContain(await refusal(name))
}

describe('catalogue of bad archives', () => {
  it('cut, wrong magic, wrong version, something appended (rows 1, 2, 3, 4, 5)', async () => {
    await expectRefused(/-cut-at-/, 'M2P_TRUNCATED')
    await expectRefused(/-magic-/, 'M2P_MAGIC')
    await expectRefused(/-version-\d+\./, 'M2P_VERSION', 'M2P_HEADER')
    await expectRefused(/appended/, 'M2P_TRAILING')
  })

  it('lengths beyond the file or the limit, before anything is allocated (row 7)', async () => {
    await expectRefused(/manifest-(?:offset|size)-\d{6,}/, 'M2P_LIMIT')
    for (const name of names.filter((entry) => /manifest-(?:offset|size)-\d{6,}/.test(entry))) {
      const bytes = new Uint8Array(readFileSync(new URL(name, folder)))
      const asked: number[] = []
      const source = {
        size: bytes.length,
        read: async (offset: number, length: number) => (asked.push(length), bytes.slice(offset, offset + length)),
      }
      await expect(openArchive(source, { verifiers, contentKey })).rejects.toThrow(M2pError)
      expect(asked).toEqual([128])
    }
  })

  it("signatures that are another's, zero, malleated, of low order (rows 8, 9, 10, 11)", async () => {
    await expectRefused(/-signature-/, 'M2P_SIGNATURE')
  })

  it('a key_id that nobody knows, another one, a wrong key, two keys for one ciphertext (rows 13, 14, 17, 18)', async () => {
    await expectRefused(/key-id-without-verifier/, 'M2P_KEY_ID_UNKNOWN')
    await expectRefused(/key-id-8-throughout/, 'M2P_KEY_ID_MISMATCH')
    await expectRefused(/commitment/, 'M2P_KEY_COMMITMENT')
  })

  it('payloads flipped or swapped, segments out of order (rows 19, 20, 23)', async () => {
    await expectRefused(
      /-(?:payload-byte|payloads-swapped|payload-zero|last-tag|segments-swapped|segment-repeated|segments-and-their)/,
      'M2P_DECRYPT',
    )
    await expectRefused(/-(?:last-segment-dropped|two-last-segments)/, 'M2P_TOC')
  })

  it('stored bytes under another path do not open; equal content under an equal path is equal bytes by design (row 21)', async () => {
    const [one] = plainFiles()
    const left = craft({ files: [{ ...one!, path: 'x' }] })
    const right = craft({ files: [{ ...one!, path: 'y' }] })
    const again = craft({ files: [{ ...one!, path: 'x' }] })
    const size = one!.parts[0]!.length + 16
    expect(equalBytes(left, again)).toBe(true)
    expect(equalBytes(left.subarray(128, 128 + size), right.subarray(128, 128 + size))).toBe(false)
    const moved = right.slice()
    moved.set(left.subarray(128, 128 + size), 128)
    const report = await (await openArchive(memorySource(moved), { verifiers, contentKey })).verify()
    expect(report.failures[0]?.code).toBe('M2P_DECRYPT')
  })

  it('nonces come from what is encrypted, so no random source can repeat one (row 22)', async () => {
    const sink = new MemorySink()
    const same = new Uint8Array(200_000).fill(7)
    const files = ['a', 'b', 'c'].map((path) => ({ path, source: memorySource(same) }))
    await buildArchive(files, sink, { contentKey, signingSeed: seed, slots, segmentSize: 65_536 })
    const { entries } = await openArchive(memorySource(sink.bytes()), { verifiers })
    const nonces = entries.flatMap((entry) =>
      Array.from({ length: entry.segmentCount }, (_, index) =>
        Buffer.from(segmentAt(entry, index).nonce).toString('hex'),
      ),
    )
    expect(nonces.length).toBe(12)
    expect(new Set(nonces).size).toBe(nonces.length)
  })

  it('a right tag over a wrong hash, sizes too small and too large (rows 24, 25, 26)', async () => {
    await expectRefused(/forged-by-a-holder/, 'M2P_HASH')
    await expectRefused(/-size-off-by-|content-size-one|stored-size-off/, 'M2P_SIZE')
    await expectRefused(/more-content-than-said|less-content-than-said/, 'M2P_ZSTD')
  })

  it('a bomb gives no more than the size that is due (row 27)', async () => {
    await expectRefused(/-bomb\./, 'M2P_ZSTD')
    // One segment of 64 KiB, 32 KiB as stored, that would become 1 GiB: 8,192 blocks of one repeated byte.
    const blocks = Array.from({ length: 8192 }, (_, index) => [
      ...littleEndian24((131_072 << 3) | (1 << 1) | (index === 8191 ? 1 : 0)),
      0x61,
    ])
    const frame = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0xff, ...blocks.flat()])
    const archive = craft({
      segmentSize: 65_536,
      files: [
        { path: 'bomb', parts: [frame], size: 65_536, compression: 'zstd', digest: sha256(new Uint8Array(65_536)) },
      ],
    })
    const before = process.memoryUsage().rss
    const report = await (await openArchive(memorySource(archive), { verifiers, contentKey })).verify()
    expect(report.failures.map(({ code }) => code)).toEqual(['M2P_ZSTD'])
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 1024 * 1024)
  })

  it('an honest size at any ratio is read: the size that is due bounds it (row 28)', async () => {
    const plain = new Uint8Array(8 * 1024 * 1024)
    const frame = new Uint8Array(zstdCompressSync(plain))
    expect(plain.length / frame.length).toBeGreaterThan(5000)
    const archive = craft({
      segmentSize: 8_388_608,
      files: [{ path: 'zeros', parts: [frame], size: plain.length, compression: 'zstd', digest: sha256(plain) }],
    })
    expect((await (await openArchive(memorySource(archive), { verifiers, contentKey })).read('zeros')).length).toBe(
      plain.length,
    )
  })

  it('windows that are too large; frames with dictionary, checksum, company (rows 29, 30, 32)', async () => {
    await expectRefused(/zstd-(?:window|single-segment)/, 'M2P_LIMIT')
    await expectRefused(
      /zstd-(?:dictionary|checksum|right-checksum|two-frames|skippable|reserved|no-content-size|byte-behind|cut|corrupt)/,
      'M2P_ZSTD',
    )
  })

  it('paths that leave the folder, or that some platform cannot hold (rows 33, 34, 35, 36, 37, 38)', async () => {
    await expectRefused(/^\d+-path-(?!twice|of-(?:1025|33))/, 'M2P_PATH')
  })

  it('paths that collide where case does not count (rows 39, 40, 41)', async () => {
    await expectRefused(/collision|path-twice/, 'M2P_PATH_COLLISION')
    expect(foldPath('straße')).toBe(foldPath('STRASSE'))
    expect(foldPath('K')).toBe(foldPath('k'))
  })

  it('a short name of DOS is a name like any other (row 42)', () => {
    expect(() => checkPath('PROGRA~1/x')).not.toThrow()
  })

  it('tables that contradict themselves, offsets that wrap (rows 43, 44)', async () => {
    await expectRefused(
      /-(?:paths-not-in-order|gap-|offset-|slot-count|entry-count-[0-9]{1,7}\.|padding-as-long)/,
      'M2P_TOC',
      'M2P_LIMIT',
      'M2P_HEADER',
      'M2P_TRUNCATED',
      'M2P_MANIFEST_HASH',
    )
    await expectRefused(/-offset-1844674407370955157\d\.M2P_TOC/, 'M2P_TOC')
  })

  it('more than the limits allow (row 45)', async () => {
    await expectRefused(/entry-count-1000001|path-of-1025|path-of-33|slot-count-1025/, 'M2P_LIMIT')
  })

  it('no files, and files of no bytes, are in order (rows 46, 47)', async () => {
    const empty = await openArchive(memorySource(craft({ files: [] })), { verifiers, contentKey })
    expect(await empty.verify()).toMatchObject({ ok: true, filesChecked: 0 })
    const one = await openArchive(memorySource(craft({ files: [{ path: 'empty', parts: [concatBytes()] }] })), {
      verifiers,
      contentKey,
    })
    expect((await one.read('empty')).length).toBe(0)
    expect((await one.verify()).ok).toBe(true)
  })

  it('flags, reserved bytes and kinds of files that do not exist (rows 48, 49)', async () => {
    await expectRefused(/-(?:flags|reserved|compression-2|reserved-byte)/, 'M2P_HEADER', 'M2P_ZSTD')
  })

  it('the format has no mode bits: files come out plain (row 50)', async () => {
    const archive = await openArchive(memorySource(craft()), { verifiers, contentKey })
    expect(Object.keys(archive.entries[0] ?? {})).not.toContain('mode')
  })

  it('building twice gives equal bytes (row 53)', async () => {
    const builds = await Promise.all(
      [0, 1].map(async () => {
        const sink = new MemorySink()
        await buildArchive(
          [
            { path: 'b', source: memorySource(text('x'.repeat(500))) },
            { path: 'a', source: memorySource(text('y')) },
          ],
          sink,
          { contentKey, signingSeed: seed },
        )
        return sink.bytes()
      }),
    )
    expect(equalBytes(builds[0]!, builds[1]!)).toBe(true)
  })
})
