import { createHash, randomBytes } from 'node:crypto'
import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blobFromBytes } from '@keyturn/release-client'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { streamOf } from '../src/storage/hashing.ts'
import { LEAST_PART_BYTES, planParts, READ_PART_BYTES } from '../src/storage/s3-assembly.ts'
import type { PlannedPart } from '../src/storage/s3-assembly.ts'
import { openS3BlobStore } from '../src/storage/s3-blob-store.ts'
import { memoryS3 } from './memory-s3.ts'
import { sha256Hex, someBytes, startServer, temporaryFolder } from './support.ts'

const MIB = 1024 * 1024
const names = ['a', 'b', 'c'].map((letter) => letter.repeat(64))

describe('planParts()', () => {
  const piece = fc.record({
    sha256: fc.constantFrom(...names),
    start: fc.integer({ min: 0, max: 50 * MIB }),
    length: fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 40 * MIB })),
  })
  const bytesIn = (part: PlannedPart): number =>
    'copy' in part ? part.copy.length : part.send.reduce((sum, { length }) => sum + length, 0)

  it('makes parts that a storage takes, which are the same bytes in the same order', () => {
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 40 }), (pieces) => {
        const plan = planParts(pieces)
        if (plan === undefined) return
        for (const part of plan.slice(0, -1)) expect(bytesIn(part)).toBeGreaterThanOrEqual(LEAST_PART_BYTES)
        for (const part of plan) if ('send' in part) expect(bytesIn(part)).toBeLessThanOrEqual(READ_PART_BYTES)
        const flat = plan.flatMap((part) => ('copy' in part ? [part.copy] : part.send))
        const merged = (list: readonly { sha256: string; start: number; length: number }[]): string[] => {
          const runs: { sha256: string; start: number; length: number }[] = []
          for (const one of list) {
            const last = runs.at(-1)
            if (last?.sha256 === one.sha256 && last.start + last.length === one.start) last.length += one.length
            else runs.push({ ...one })
          }
          return runs.map(({ sha256, start, length }) => `${sha256[0]} ${start} ${length}`)
        }
        expect(merged(flat)).toEqual(merged(pieces))
      }),
    )
  })

  it('leaves what has no run of 5 MiB to the server, and what needs more than 10,000 parts', () => {
    expect(planParts([{ sha256: names[0] as string, start: 0, length: LEAST_PART_BYTES - 1 }])).toBeUndefined()
    const pieces = Array.from({ length: 10_001 }, (_, at) => ({
      sha256: names[at % 2] as string,
      start: 7,
      length: LEAST_PART_BYTES,
    }))
    expect(planParts(pieces)).toBeUndefined()
    expect(planParts(pieces.slice(1))).toHaveLength(10_000)
  })
})

/** Old bytes of 40 MiB, new ones of 1 MB, and what is made of both. */
function stage() {
  const [old, fresh] = [randomBytes(40 * MIB), randomBytes(1_000_000)]
  const cut = 18 * MIB + 5
  const bytes = Buffer.concat([old.subarray(0, cut), fresh, old.subarray(cut)])
  const [from, added] = [sha256Hex(old), sha256Hex(fresh)]
  const pieces = [
    { sha256: from, start: 0, length: cut },
    { sha256: added, start: 0, length: fresh.length },
    { sha256: from, start: cut, length: old.length - cut },
  ]
  return { old, fresh, from, added, bytes, target: sha256Hex(bytes), pieces }
}

describe('a bucket', () => {
  it('copies what it has: only what is between goes through the server, and all is read once', async () => {
    const memory = memoryS3()
    const store = openS3BlobStore(memory.settings)
    const { old, fresh, from, added, bytes, target, pieces } = stage()
    await store.put(from, streamOf(old))
    await store.put(added, streamOf(fresh))
    Object.assign(memory.counted, { sent: 0, read: 0, copied: 0 })
    expect(await store.assemble(target, bytes.length, pieces)).toMatchObject({ size: bytes.length })
    expect(sha256Hex(memory.objects.get(`files/${target.slice(0, 2)}/${target}`) as Uint8Array)).toBe(target)
    // The part of new bytes is filled up to 5 MiB.
    expect(memory.counted.sent).toBe(LEAST_PART_BYTES)
    expect(memory.counted.read).toBe(bytes.length + LEAST_PART_BYTES)
    expect([...memory.objects.keys()].filter((key) => key.startsWith('incoming/'))).toEqual([])
  })

  it.each<[string, (headers: Headers, url: URL) => Response | undefined]>([
    [
      'refuses copies of parts',
      (headers) =>
        headers.has('x-amz-copy-source-range')
          ? new Response('<Error><Code>NotImplemented</Code></Error>', { status: 501 })
          : undefined,
    ],
    ['answers without a tag', (headers) => (headers.has('x-amz-copy-source-range') ? new Response('') : undefined)],
  ])('that %s gets the bytes from the server, and is not asked again', async (_, intercept) => {
    const memory = memoryS3()
    const store = openS3BlobStore(memory.settings)
    const { old, fresh, from, added, bytes, target, pieces } = stage()
    await store.put(from, streamOf(old))
    await store.put(added, streamOf(fresh))
    let asked = 0
    memory.intercept = (_method, url, headers) => {
      const answer = intercept(headers, url)
      if (answer !== undefined) asked += 1
      return answer
    }
    for (let turn = 0; turn < 2; turn += 1) {
      expect(await store.assemble(target, bytes.length, pieces)).toMatchObject({ size: bytes.length })
      await store.delete(target)
    }
    expect(asked).toBe(1)
  })

  it('that copies other bytes stores them under no name: the hash of what it holds decides', async () => {
    const memory = memoryS3()
    const store = openS3BlobStore(memory.settings)
    const { old, fresh, from, added, bytes, target, pieces } = stage()
    await store.put(from, streamOf(old))
    await store.put(added, streamOf(fresh))
    memory.intercept = (_method, _url, headers) => {
      // A server that copies, and ignores which range.
      headers.delete('x-amz-copy-source-range')
      return undefined
    }
    expect(await store.assemble(target, bytes.length, pieces)).toMatchObject({ size: bytes.length })
    expect(sha256Hex(memory.objects.get(`files/${target.slice(0, 2)}/${target}`) as Uint8Array)).toBe(target)
    const lie = createHash('sha256').update('other').digest('hex')
    await expect(store.assemble(lie, bytes.length, pieces)).rejects.toMatchObject({ code: 'UP_HASH' })
    expect([...memory.objects.keys()].filter((key) => key.startsWith('incoming/') || key.endsWith(lie))).toEqual([])
  })
})

describe('a folder whose file system clones', () => {
  it('writes only what is not in its place, and gives nothing a name whose hash is another', async () => {
    const root = await temporaryFolder()
    const cloned: string[] = []
    const store = await openFolderBlobStore(root, {
      clone: async (from, to) => {
        cloned.push(from.slice(-64))
        await copyFile(from, to)
      },
    })
    const { old, fresh, from, added, bytes, target, pieces } = stage()
    await store.put(from, streamOf(old))
    await store.put(added, streamOf(fresh))
    const lie = createHash('sha256').update('other').digest('hex')
    await expect(store.assemble(lie, bytes.length, pieces)).rejects.toMatchObject({ code: 'UP_HASH' })
    expect(await store.assemble(target, bytes.length, pieces)).toMatchObject({ size: bytes.length })
    expect(cloned).toEqual([from, from])
    const shorter = old.subarray(0, 7 * MIB)
    await store.assemble(sha256Hex(shorter), shorter.length, [{ sha256: from, start: 0, length: shorter.length }])
    const files = await readdir(join(root, 'files'), { recursive: true })
    expect(
      files
        .filter((name) => name.length > 3)
        .map((name) => name.slice(3))
        .toSorted(),
    ).toEqual([from, added, target, sha256Hex(shorter)].toSorted())
  })

  it('is asked once when it does not', async () => {
    let asked = 0
    const store = await openFolderBlobStore(await temporaryFolder(), {
      clone: () => {
        asked += 1
        return Promise.reject(Object.assign(new Error('no clones'), { code: 'ENOTSUP' }))
      },
    })
    const { old, fresh, from, added, bytes, target, pieces } = stage()
    await store.put(from, streamOf(old))
    await store.put(added, streamOf(fresh))
    for (let turn = 0; turn < 2; turn += 1) {
      expect(await store.assemble(target, bytes.length, pieces)).toMatchObject({ size: bytes.length })
      await store.delete(target)
    }
    expect(asked).toBe(1)
  })
})

describe('blobs that were only sent as pieces', () => {
  it('are freed at once by the caller who sent them, and by nobody else', async () => {
    const { client } = await startServer()
    const [mine, other] = [await client(['blobs:write', 'blobs:read']), await client(['blobs:write', 'blobs:read'])]
    const bytes = [someBytes(1000), someBytes(1001), someBytes(1002)] as const
    const [one, two, three] = bytes.map((part) => sha256Hex(part)) as [string, string, string]
    for (const part of bytes) await mine.uploadBlob(blobFromBytes(part))
    const whole = new Uint8Array(Buffer.concat([bytes[0], bytes[1]]))
    const pieces = [
      { sha256: one, start: 0, length: 1000 },
      { sha256: two, start: 0, length: 1001 },
    ]
    expect(await mine.assembleBlob({ sha256: sha256Hex(whole), size: whole.length }, pieces)).toBe(true)
    expect(await other.freeBlobs([one, two, three])).toEqual([])
    expect(await other.missingBlobs([two])).toEqual([])
    expect(await mine.freeBlobs([one, two, sha256Hex(whole), 'ab'.repeat(32)])).toEqual([one])
    expect(await mine.missingBlobs([one, two, three, sha256Hex(whole)])).toEqual([one])
    expect(await mine.freeBlobs([three])).toEqual([])
    await mine.uploadBlob(blobFromBytes(bytes[0]))
    await other.uploadBlob(blobFromBytes(bytes[0]))
    expect(await mine.freeBlobs([one])).toEqual([])
  })

  it('stay with a server that does not know the call', async () => {
    const { url, token } = await startServer()
    const { ReleaseServerClient } = await import('@keyturn/release-client')
    const client = new ReleaseServerClient(url, {
      token: await token(['blobs:write']),
      fetch: (input, init) => fetch(String(input).replace(':free', ':unheard-of'), init),
    })
    expect(await client.freeBlobs(['ab'.repeat(32)])).toEqual([])
  })
})
