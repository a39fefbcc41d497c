import { equalBytes } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import { chmodSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { buildFolder, extractArchive, openArchiveFile, verifyArchiveFile } from '../src/node/index.ts'
import type { BuildFolderOptions } from '../src/node/index.ts'
import { contentKey, seed, slots, verifiers } from './support/craft.ts'
import { randomOf } from './support/mutate.ts'
import { temporaryFolder, variedFiles, writeTree } from './support/tree.ts'

const SEGMENT = 65_536
const keys = { contentKey, signingSeed: seed, slots }

function content(length: number, seedNumber: number, alphabet = 256): Uint8Array {
  const random = randomOf(seedNumber)
  return new Uint8Array(length).map(() => random() % alphabet)
}

/** A tree with small files, files of many segments, and one of zeros. */
function plantTree(root: string): string {
  const tree = join(root, 'tree')
  writeTree(tree, variedFiles())
  mkdirSync(join(tree, 'large'))
  writeFileSync(join(tree, 'large/noise'), content(1_500_000, 1))
  writeFileSync(join(tree, 'large/text'), content(1_200_000, 2, 5))
  writeFileSync(join(tree, 'large/zeros'), new Uint8Array(700_000))
  return tree
}

async function pack(tree: string, output: string, options: Partial<BuildFolderOptions> = {}): Promise<Uint8Array> {
  await buildFolder(tree, output, { ...keys, version: 2, segmentSize: SEGMENT, level: 3, ...options })
  return new Uint8Array(readFileSync(output))
}

describe('version 2 with threads', () => {
  it('bytes depend neither on the number of threads nor on the builder', async () => {
    const root = temporaryFolder()
    const tree = plantTree(root)
    const one = await pack(tree, join(root, 'one.m2p'), { jobs: 1 })
    const three = await pack(tree, join(root, 'three.m2p'), { jobs: 3 })
    const plain = await pack(tree, join(root, 'plain.m2p'), { fs: { ...nodeFileSystem } })
    expect(equalBytes(one, three)).toBe(true)
    expect(equalBytes(one, plain)).toBe(true)
    const aligned = await pack(tree, join(root, 'aligned.m2p'), { jobs: 2, align: 4096 })
    const alignedPlain = await pack(tree, join(root, 'aligned-plain.m2p'), { fs: { ...nodeFileSystem }, align: 4096 })
    expect(equalBytes(aligned, alignedPlain)).toBe(true)
    for (const name of ['three', 'aligned'])
      expect(await verifyArchiveFile(join(root, `${name}.m2p`), { verifiers, contentKey, jobs: 2 })).toMatchObject({
        ok: true,
      })
  })

  it('extracts what was packed, executable bits and times included', async () => {
    const root = temporaryFolder()
    const tree = plantTree(root)
    writeFileSync(join(tree, 'run'), '#!/bin/sh\n')
    chmodSync(join(tree, 'run'), 0o750)
    utimesSync(join(tree, 'run'), 1_500_000_000, 1_500_000_000.25)
    await pack(tree, join(root, 'a.m2p'), { mtimes: true })
    await extractArchive(join(root, 'a.m2p'), join(root, 'out'), { verifiers, contentKey, jobs: 2 })
    for (const path of ['large/noise', 'large/text', 'large/zeros'])
      expect(equalBytes(readFileSync(join(root, 'out', path)), readFileSync(join(tree, path))), path).toBe(true)
    const { mode, mtimeMs } = statSync(join(root, 'out/run'))
    expect(mtimeMs).toBe(1_500_000_000_250)
    if (process.platform !== 'win32') expect(mode & 0o777).toBe(0o755)
    expect(statSync(join(root, 'out/large/text')).mode & 0o111).toBe(0)
  })

  it('an unchanged tree is carried over whole, whatever the level', async () => {
    const root = temporaryFolder()
    const tree = plantTree(root)
    const first = await pack(tree, join(root, 'first.m2p'))
    const previous = await openArchiveFile(join(root, 'first.m2p'), { verifiers, contentKey })
    const options = { ...keys, version: 2, segmentSize: SEGMENT, level: 19, previous: previous.archive } as const
    const result = await buildFolder(tree, join(root, 'second.m2p'), { ...options, jobs: 2 })
    await previous.close()
    expect(result.carriedFiles).toBe(result.files)
    expect(equalBytes(new Uint8Array(readFileSync(join(root, 'second.m2p'))), first)).toBe(true)
  })

  it('of a changed file the segments that did not change are carried over', async () => {
    const root = temporaryFolder()
    const tree = plantTree(root)
    await pack(tree, join(root, 'first.m2p'))
    const text = new Uint8Array(readFileSync(join(tree, 'large/text')))
    text[600_000]! ^= 1
    writeFileSync(join(tree, 'large/text'), text)
    const made: Uint8Array[] = []
    for (const options of [{ jobs: 2 }, { fs: { ...nodeFileSystem } }]) {
      const previous = await openArchiveFile(join(root, 'first.m2p'), { verifiers, contentKey })
      made.push(
        await pack(tree, join(root, `${made.length}.m2p`), { ...options, level: 19, previous: previous.archive }),
      )
      await previous.close()
    }
    expect(equalBytes(made[0] as Uint8Array, made[1] as Uint8Array)).toBe(true)
    const before = readFileSync(join(root, 'first.m2p'))
    const after = Buffer.from(made[0] as Uint8Array)
    let [head, tail] = [128, 0]
    while (before[head] === after[head]) head++
    const end = Number(after.readBigUInt64LE(16))
    const beforeEnd = Number(before.readBigUInt64LE(16))
    while (before[beforeEnd - 1 - tail] === after[end - 1 - tail]) tail++
    expect(end - head - tail).toBeLessThanOrEqual(SEGMENT * 4 + 16)
  })

  it('segments damaged in the archive before are sealed again, others of the file are carried', async () => {
    const root = temporaryFolder()
    const tree = plantTree(root)
    const first = await pack(tree, join(root, 'first.m2p'))
    const opened = await openArchiveFile(join(root, 'first.m2p'), { verifiers, contentKey })
    const { offset, storedSize } = opened.archive.entry('large/noise')
    await opened.close()
    const damaged = first.slice()
    damaged[offset + storedSize / 2]! ^= 1
    writeFileSync(join(root, 'damaged.m2p'), damaged)
    const previous = await openArchiveFile(join(root, 'damaged.m2p'), { verifiers, contentKey })
    const options = { ...keys, version: 2, segmentSize: SEGMENT, level: 3, previous: previous.archive } as const
    const result = await buildFolder(tree, join(root, 'second.m2p'), { ...options, jobs: 2 })
    await previous.close()
    expect(result.carriedFiles).toBe(result.files - 1)
    expect(equalBytes(new Uint8Array(readFileSync(join(root, 'second.m2p'))), first)).toBe(true)
  })

  it('the archive before may be of the other version, or its table alone', async () => {
    const root = temporaryFolder()
    const tree = plantTree(root)
    const fresh = await pack(tree, join(root, 'fresh.m2p'))
    await pack(tree, join(root, 'one.m2p'), { version: 1 })
    const old = await openArchiveFile(join(root, 'one.m2p'), { verifiers, contentKey })
    expect(equalBytes(await pack(tree, join(root, 'two.m2p'), { previous: old.archive }), fresh)).toBe(true)
    await old.close()
    const at = Number(Buffer.from(fresh).readBigUInt64LE(16))
    writeFileSync(join(root, 'table.m2p'), Buffer.concat([fresh.subarray(0, 128), fresh.subarray(at)]))
    const table = await openArchiveFile(join(root, 'table.m2p'), { verifiers, contentKey, manifestOnly: true })
    expect(equalBytes(await pack(tree, join(root, 'three.m2p'), { previous: table.archive }), fresh)).toBe(true)
    await table.close()
  })
})
