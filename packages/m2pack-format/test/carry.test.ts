import { ed25519PublicKey, equalBytes } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import { openSync, readFileSync, writeFileSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { segmentAt } from '../src/entries.ts'
import { SlotKey } from '../src/keys.ts'
import { buildFolder, openArchiveFile, verifyArchiveFile } from '../src/node/index.ts'
import { FileCipher } from '../src/segment.ts'
import { noise, temporaryFolder, writeTree } from './support/tree.ts'

const signingSeed = new Uint8Array(32).fill(1)
const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
const contentKey = { keyId: 1, key: new Uint8Array(32).fill(2) }
const slot = new Uint8Array(32).fill(3)
const options = { contentKey, signingSeed, slots: new Map([[1, slot]]), level: 3, segmentSize: 65_536 }

/** Files that are compressed and files that are not, of one segment and of several, between small ones. */
function tree(): { root: string; input: string; first: string } {
  const root = temporaryFolder()
  const input = join(root, 'tree')
  writeTree(input, {
    'a/small.txt': 'small '.repeat(200),
    'b/large.txt': 'large and compressible '.repeat(20_000),
    'c/noise.bin': noise('carry', 400_000),
    'd/last.txt': 'last '.repeat(100),
  })
  return { root, input, first: join(root, 'first.m2p') }
}

async function placeOf(archivePath: string, path: string, segment: number) {
  const { archive, close } = await openArchiveFile(archivePath, { verifiers, contentKey })
  const entry = archive.find(path)
  await close()
  if (entry === undefined) throw new Error(`no ${path}`)
  let { offset } = entry
  for (let index = 0; index < segment; index++) offset += segmentAt(entry, index).storedSize
  return { entry, offset, record: segmentAt(entry, segment) }
}

function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const descriptor = openSync(path, 'r+')
  writeSync(descriptor, bytes, 0, bytes.length, offset)
  closeSync(descriptor)
}

const ways = [
  ['two threads', { jobs: 2 }],
  ['one thread', { jobs: 1 }],
  ['the plain builder', { fs: { ...nodeFileSystem } }],
] as const

async function repack(input: string, first: string, output: string, extra: object) {
  const previous = await openArchiveFile(first, { verifiers, contentKey })
  try {
    return await buildFolder(input, output, { ...options, ...extra, previous: previous.archive })
  } finally {
    await previous.close()
  }
}

describe('files that are carried over from the previous archive', () => {
  it.each(ways)('nothing changed: every file, the same bytes, with %s', async (_what, extra) => {
    const { root, input, first } = tree()
    await buildFolder(input, first, options)
    const output = join(root, 'next.m2p')
    // Another level shows that nothing was compressed again.
    expect(await repack(input, first, output, { ...extra, level: 9 })).toMatchObject({ files: 4, carriedFiles: 4 })
    expect(equalBytes(readFileSync(output), readFileSync(first))).toBe(true)
  })

  const damages = [
    ['a file of one segment', 'a/small.txt', 0],
    ['the first segment of a large file', 'b/large.txt', 0],
    ['a middle segment of a large file', 'c/noise.bin', 3],
    ['the last segment of a large file', 'c/noise.bin', 6],
  ] as const

  it.each(
    damages.flatMap(([what, path, segment]) => ways.map(([way, extra]) => ({ what, path, segment, way, extra }))),
  )('what is damaged there is packed again: $what, $way', async ({ path, segment, extra }) => {
    const { root, input, first } = tree()
    await buildFolder(input, first, options)
    const whole = readFileSync(first)
    const { offset, record } = await placeOf(first, path, segment)
    const byte = whole[offset + record.storedSize - 20] as number
    overwrite(first, offset + record.storedSize - 20, new Uint8Array([byte ^ 1]))
    const output = join(root, 'next.m2p')
    expect(await repack(input, first, output, extra)).toMatchObject({ files: 4, carriedFiles: 3 })
    expect(equalBytes(readFileSync(output), whole)).toBe(true)
    expect((await verifyArchiveFile(output, { verifiers, contentKey })).ok).toBe(true)
  })

  it.each(ways)(
    'other content that somebody with the content key sealed under the signed nonce is not carried over, with %s',
    async (_what, extra) => {
      const { root, input, first } = tree()
      await buildFolder(input, first, options)
      const whole = readFileSync(first)
      const { entry, offset, record } = await placeOf(first, 'c/noise.bin', 2)
      const cipher = new FileCipher(new SlotKey(slot), new TextEncoder().encode('c/noise.bin'), {
        sha256: entry.sha256,
        segmentCount: 7,
      })
      const forged = cipher.sealUnder(2, new Uint8Array(record.storedSize - 16).fill(7), record.nonce)
      overwrite(first, offset, forged)
      const output = join(root, 'next.m2p')
      expect(await repack(input, first, output, extra)).toMatchObject({ carriedFiles: 3 })
      expect(equalBytes(readFileSync(output), whole)).toBe(true)
    },
  )

  it('a large file of the same size with other content is packed again', async () => {
    const { root, input, first } = tree()
    await buildFolder(input, first, options)
    writeFileSync(join(input, 'b/large.txt'), 'other and compressible '.repeat(20_000))
    const output = join(root, 'next.m2p')
    expect(await repack(input, first, output, { jobs: 2 })).toMatchObject({ carriedFiles: 3 })
    expect((await verifyArchiveFile(output, { verifiers, contentKey })).ok).toBe(true)
  })
})
