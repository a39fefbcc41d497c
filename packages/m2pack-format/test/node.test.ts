import { ed25519PublicKey, equalBytes, sha256 } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  buildFolder,
  diffPaths,
  extractArchive,
  openArchiveFile,
  rewrapFile,
  verifyArchiveFile,
  walkFolder,
} from '../src/node/index.ts'
import { memorySource, openArchive } from '../src/index.ts'
import type { Archive } from '../src/index.ts'
import { noise, temporaryFolder, variedFiles, writeTree } from './support/tree.ts'

const signingSeed = new Uint8Array(32).fill(1)
const publicKey = ed25519PublicKey(signingSeed)
const keyOne = { keyId: 1, key: new Uint8Array(32).fill(2) }
const keyTwo = { keyId: 2, key: new Uint8Array(32).fill(3) }
const verifiers = new Map([
  [1, publicKey],
  [2, publicKey],
])
const oneSlot = new Map([[1, new Uint8Array(32).fill(4)]])
const twoSlots = new Map([...oneSlot, [2, new Uint8Array(32).fill(5)]])
const keys = { contentKey: keyOne, signingSeed, slots: oneSlot }
const options = { ...keys, level: 3, segmentSize: 65_536 }

function variedTree(): { root: string; input: string } {
  const root = temporaryFolder()
  const input = join(root, 'tree')
  writeTree(input, variedFiles())
  return { root, input }
}

/** An archive of a folder that is in memory, so that what follows it is packed file by file. */
async function inMemory(input: string, path: string): Promise<Archive> {
  await buildFolder(input, path, options)
  const bytes = readFileSync(path)
  rmSync(path)
  return await openArchive(memorySource(bytes), { verifiers })
}

function expectTree(folder: string, files: Record<string, string | Uint8Array>): void {
  for (const [path, content] of Object.entries(files)) {
    expect(equalBytes(readFileSync(join(folder, path)), Buffer.from(content)), path).toBe(true)
  }
}

describe('buildFolder()', () => {
  it('gives equal bytes for any number of threads and from the plain builder', async () => {
    const { root, input } = variedTree()
    for (const align of [1, 4096]) {
      const digests = new Set<string>()
      for (const jobs of [1, 2, 3]) {
        const output = join(root, `${align}-${jobs}.m2p`)
        await buildFolder(input, output, { ...options, align, jobs })
        digests.add(Buffer.from(sha256(readFileSync(output))).toString('hex'))
      }
      const output = join(root, `${align}-plain.m2p`)
      await buildFolder(input, output, { ...options, align, fs: { ...nodeFileSystem } })
      digests.add(Buffer.from(sha256(readFileSync(output))).toString('hex'))
      expect(digests.size).toBe(1)
    }
  })

  it('keeps slots and bytes of unchanged files when the content key is rotated', async () => {
    const { root, input } = variedTree()
    const first = join(root, 'first.m2p')
    await buildFolder(input, first, options)
    writeTree(input, { 'a.txt': 'changed\n', 'new.txt': 'new\n' })
    const outputs: Uint8Array[] = []
    for (const [name, extra] of [
      ['two', { jobs: 2 }],
      ['one', { jobs: 1 }],
      ['plain', { fs: { ...nodeFileSystem } }],
    ] as const) {
      const previous = await openArchiveFile(first, { verifiers })
      const output = join(root, `${name}.m2p`)
      // Another level: what is carried over is not compressed again.
      const result = await buildFolder(input, output, {
        ...options,
        ...extra,
        level: 9,
        contentKey: keyTwo,
        slots: twoSlots,
        previous: previous.archive,
      })
      await previous.close()
      expect(result).toMatchObject({ slots: [1, 2], carriedFiles: result.files - 2, keptFiles: result.files - 2 })
      outputs.push(readFileSync(output))
      expect((await verifyArchiveFile(output, { verifiers, contentKey: keyTwo })).ok).toBe(true)
    }
    for (const output of outputs) expect(equalBytes(output, outputs[0] as Uint8Array)).toBe(true)
  })

  it('changes at most 136 bytes and 72 a slot when only the content key is rotated, as rewrapFile() does', async () => {
    const { root, input } = variedTree()
    const [before, after, rewrapped] = [join(root, 'before.m2p'), join(root, 'after.m2p'), join(root, 'rewrapped.m2p')]
    await buildFolder(input, before, options)
    const previous = await openArchiveFile(before, { verifiers })
    await buildFolder(input, after, { ...options, contentKey: keyTwo, slots: twoSlots, previous: previous.archive })
    await previous.close()
    await rewrapFile(before, rewrapped, { open: { verifiers, contentKey: keyOne }, contentKey: keyTwo, signingSeed })
    const [left, right] = [readFileSync(before), readFileSync(after)]
    expect(equalBytes(right, readFileSync(rewrapped))).toBe(true)
    let different = 0
    for (const [index, byte] of left.entries()) if (byte !== right[index]) different++
    expect(different).toBeLessThanOrEqual(136 + 72)
  })

  it('re-encrypts everything under the newest slot with full', async () => {
    const { root, input } = variedTree()
    const first = join(root, 'first.m2p')
    await buildFolder(input, first, options)
    const previous = await openArchiveFile(first, { verifiers })
    const result = await buildFolder(input, join(root, 'full.m2p'), {
      ...options,
      slots: twoSlots,
      previous: previous.archive,
      full: true,
    })
    await previous.close()
    expect(result).toMatchObject({ slots: [2], carriedFiles: 0, keptFiles: 0 })
  })

  it('carries slots over from header and manifest alone', async () => {
    const { root, input } = variedTree()
    const first = join(root, 'first.m2p')
    await buildFolder(input, first, options)
    const bytes = readFileSync(first)
    const head = join(root, 'head.m2p')
    const at = Number(bytes.readBigUInt64LE(16))
    writeFileSync(head, Buffer.concat([bytes.subarray(0, 128), bytes.subarray(at)]))
    const previous = await openArchiveFile(head, { verifiers, manifestOnly: true })
    const result = await buildFolder(input, join(root, 'next.m2p'), {
      ...options,
      slots: twoSlots,
      previous: previous.archive,
    })
    await previous.close()
    expect(result).toMatchObject({ slots: [1], carriedFiles: 0, keptFiles: result.files })
    expect(equalBytes(readFileSync(join(root, 'next.m2p')), bytes)).toBe(true)
  })

  it('refuses a slot it was not given', async () => {
    const { root, input } = variedTree()
    const first = join(root, 'first.m2p')
    await buildFolder(input, first, options)
    const previous = await openArchiveFile(first, { verifiers })
    const build = buildFolder(input, join(root, 'x.m2p'), {
      ...options,
      slots: new Map([[2, new Uint8Array(32).fill(9)]]),
      previous: previous.archive,
    })
    await expect(build).rejects.toMatchObject({ code: 'M2P_SLOT_UNKNOWN' })
    await previous.close()
    expect(readdirSync(root).sort()).toEqual(['first.m2p', 'tree'])
  })

  it('refuses links and writes nothing (row 51)', async () => {
    const { root, input } = variedTree()
    symlinkSync('/etc/hostname', join(input, 'link'))
    await expect(buildFolder(input, join(root, 'x.m2p'), options)).rejects.toMatchObject({ code: 'M2P_SPECIAL_FILE' })
    expect(readdirSync(root)).toEqual(['tree'])
  })

  it('stops when a file changes while it is packed, and writes nothing (row 52)', async () => {
    const { root, input } = variedTree()
    for (const change of [
      () => appendFileSync(join(input, 'text/large.txt'), 'x'),
      () => truncateSync(join(input, 'text/large.txt'), 100),
    ]) {
      let touched = false
      const build = buildFolder(input, join(root, 'x.m2p'), {
        ...options,
        jobs: 1,
        onProgress: () => {
          if (!touched) change()
          touched = true
        },
      })
      await expect(build).rejects.toMatchObject({ code: 'M2P_INPUT_CHANGED' })
    }
    expect(readdirSync(root)).toEqual(['tree'])
  })

  it.skipIf(process.platform === 'win32').each([
    ['by threads', false],
    ['one by one, with a previous archive in memory', true],
  ])(
    'reads nothing elsewhere when a folder is swapped for a link while it is packed, %s (row 52)',
    async (_name, isPlain) => {
      const { root, input } = variedTree()
      cpSync(join(input, 'text'), join(root, 'elsewhere'), { recursive: true })
      const previous = isPlain ? await inMemory(input, join(root, 'before.m2p')) : undefined
      let isSwapped = false
      const build = buildFolder(input, join(root, 'x.m2p'), {
        ...options,
        ...(previous === undefined ? {} : { previous, full: true }),
        jobs: 1,
        onProgress: () => {
          if (isSwapped) return
          isSwapped = true
          renameSync(join(input, 'text'), join(root, 'aside'))
          symlinkSync(join(root, 'elsewhere'), join(input, 'text'))
        },
      })
      await expect(build).rejects.toMatchObject({ code: 'M2P_INPUT_CHANGED' })
      expect(isSwapped).toBe(true)
      expect(readdirSync(root).sort()).toEqual(['aside', 'elsewhere', 'tree'])
    },
  )

  it('does not overwrite unless told, and stops when told', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    writeFileSync(output, 'old')
    await expect(buildFolder(input, output, options)).rejects.toMatchObject({ code: 'PRIM_EXISTS' })
    const reason = new Error('enough')
    await expect(
      buildFolder(input, output, { ...options, overwrite: true, signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason)
    expect(readFileSync(output, 'utf8')).toBe('old')
    await buildFolder(input, output, { ...options, overwrite: true })
    expect(statSync(output).size).toBeGreaterThan(1000)
    expect(readdirSync(root).sort()).toEqual(['tree', 'x.m2p'])
  })

  it('can be stopped in the middle, on any number of threads, and leaves nothing', async () => {
    const { root, input } = variedTree()
    for (const jobs of [1, 2]) {
      const controller = new AbortController()
      const reason = new Error('enough')
      const build = buildFolder(input, join(root, 'x.m2p'), {
        ...options,
        jobs,
        signal: controller.signal,
        onProgress: () => controller.abort(reason),
      })
      await expect(build).rejects.toBe(reason)
      expect(readdirSync(root)).toEqual(['tree'])
    }
  })

  it('packs the files that are named, on threads and without, and nothing else', async () => {
    const { root, input } = variedTree()
    const files = ['media/large.bin', 'a/over.bin', 'a.txt']
    for (const [name, fs] of Object.entries({ threads: undefined, plain: nodeFileSystem })) {
      const output = join(root, `${name}.m2p`)
      await buildFolder(input, output, { ...options, files, ...(fs === undefined ? {} : { fs }) })
      const { archive, close } = await openArchiveFile(output, { verifiers })
      expect(archive.entries.map(({ path }) => path)).toEqual(files.toSorted())
      await close()
    }
    await expect(buildFolder(input, join(root, 'y.m2p'), { ...options, files: ['gone'] })).rejects.toMatchObject({
      code: 'M2P_INPUT_CHANGED',
    })
  })

  it('leaves out what the globs match', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, { ...options, exclude: ['*.lua', 'media/*', 'text'] })
    const { archive, close } = await openArchiveFile(output, { verifiers })
    expect(archive.entries.map(({ path }) => path)).toEqual([
      'a.txt',
      'a/b/c/deep.txt',
      'a/exact.bin',
      'a/over.bin',
      'empty.txt',
      'ünï/çödé.txt',
      '地図/地図1.txt',
    ])
    await close()
  })
})

describe('verifyArchiveFile()', () => {
  it('agrees for any number of threads, failures included', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, options)
    const bytes = readFileSync(output)
    const { archive, close } = await openArchiveFile(output, { verifiers })
    for (const path of ['a.txt', 'media/large.bin']) bytes[archive.entry(path).offset + 5]! ^= 1
    await close()
    writeFileSync(output, bytes)
    for (const jobs of [1, 2]) {
      const report = await verifyArchiveFile(output, { verifiers, contentKey: keyOne, jobs })
      expect(report.failures.map(({ path, code }) => [path, code])).toEqual([
        ['a.txt', 'M2P_DECRYPT'],
        ['media/large.bin', 'M2P_DECRYPT'],
      ])
    }
  })

  it('without a content key checks signature and table alone', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, options)
    expect(await verifyArchiveFile(output, { verifiers })).toMatchObject({
      ok: true,
      signatureChecked: true,
      payloadsChecked: false,
    })
  })
})

describe('extractArchive()', () => {
  it('gives back the tree, for any number of threads, fresh and into a folder that is there', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, options)
    mkdirSync(join(root, 'there'))
    for (const [name, jobs] of [
      ['one', 1],
      ['two', 2],
      ['there', 2],
    ] as const) {
      const result = await extractArchive(output, join(root, name), { verifiers, contentKey: keyOne, jobs })
      expect(result.files).toBe(Object.keys(variedFiles()).length)
      expectTree(join(root, name), variedFiles())
      expect((await walkFolder(join(root, name))).length).toBe(result.files)
    }
    expect((await diffPaths(input, join(root, 'one'))).changed).toEqual([])
    await expect(extractArchive(output, join(root, 'one'), { verifiers, contentKey: keyOne })).rejects.toMatchObject({
      code: 'PRIM_EXISTS',
    })
    writeFileSync(join(root, 'one', 'a.txt'), 'mine')
    await extractArchive(output, join(root, 'one'), { verifiers, contentKey: keyOne, overwrite: true })
    expectTree(join(root, 'one'), variedFiles())
  })

  it('takes single files and folders', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, options)
    await extractArchive(output, join(root, 'part'), { verifiers, contentKey: keyOne, paths: ['a/', 'empty.txt'] })
    expect((await walkFolder(join(root, 'part'))).sort()).toEqual([
      'a/b/c/deep.txt',
      'a/exact.bin',
      'a/over.bin',
      'empty.txt',
    ])
    await expect(
      extractArchive(output, join(root, 'none'), { verifiers, contentKey: keyOne, paths: ['nope'] }),
    ).rejects.toMatchObject({ code: 'M2P_ENTRY_UNKNOWN' })
    expect(existsSync(join(root, 'none'))).toBe(false)
  })

  it('can be stopped in the middle and leaves nothing', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, options)
    const controller = new AbortController()
    const reason = new Error('enough')
    const told: number[] = []
    const extract = extractArchive(output, join(root, 'out'), {
      verifiers,
      contentKey: keyOne,
      jobs: 1,
      signal: controller.signal,
      onProgress: ({ files, totalFiles, bytes, totalBytes }) => {
        expect(files <= totalFiles && bytes <= totalBytes).toBe(true)
        told.push(bytes)
        controller.abort(reason)
      },
    })
    await expect(extract).rejects.toBe(reason)
    expect(told.length).toBeGreaterThan(0)
    expect(readdirSync(root).sort()).toEqual(['tree', 'x.m2p'])
  })

  it('leaves nothing behind when a file is bad', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, options)
    const bytes = readFileSync(output)
    bytes[200]! ^= 1
    writeFileSync(output, bytes)
    await expect(extractArchive(output, join(root, 'out'), { verifiers, contentKey: keyOne })).rejects.toMatchObject({
      code: 'M2P_DECRYPT',
    })
    expect(readdirSync(root).sort()).toEqual(['tree', 'x.m2p'])
  })

  it('follows no link, neither of a folder nor of a file (row 54)', async () => {
    const { root, input } = variedTree()
    const output = join(root, 'x.m2p')
    await buildFolder(input, output, options)
    const outside = join(root, 'outside')
    mkdirSync(outside)
    writeFileSync(join(outside, 'file'), 'safe')
    for (const [link, to] of [
      ['many', outside],
      ['a.txt', join(outside, 'file')],
    ] as const) {
      for (const overwrite of [false, true]) {
        const target = join(root, `target-${link}-${overwrite}`)
        mkdirSync(target)
        symlinkSync(to, join(target, link))
        const extract = extractArchive(output, target, { verifiers, contentKey: keyOne, overwrite })
        await expect(extract).rejects.toMatchObject({ code: 'M2P_SYMLINK' })
      }
    }
    expect(readdirSync(outside)).toEqual(['file'])
    expect(readFileSync(join(outside, 'file'), 'utf8')).toBe('safe')
  })

  it('extracts d:/ymir work/ as ymir work/', async () => {
    const root = temporaryFolder()
    writeTree(join(root, 'tree'), { 'ymir work/pc/a.gr2': noise('a', 100), 'b.txt': 'b' })
    const output = join(root, 'x.m2p')
    await buildFolder(join(root, 'tree'), output, { ...options, ymirPrefix: true })
    const { archive, close } = await openArchiveFile(output, { verifiers })
    expect(archive.entries.map(({ path }) => path)).toEqual(['b.txt', 'd:/ymir work/pc/a.gr2'])
    await close()
    await extractArchive(output, join(root, 'out'), { verifiers, contentKey: keyOne })
    expect((await walkFolder(join(root, 'out'))).sort()).toEqual(['b.txt', 'ymir work/pc/a.gr2'])
    expect(await diffPaths(join(root, 'tree'), output)).toMatchObject({
      added: [],
      removed: [],
      changed: [],
      unchanged: ['b.txt', 'ymir work/pc/a.gr2'],
    })
  })
})
