import { ed25519PublicKey, equalBytes, hexEncode, sha256 } from '@keyturn/primitives'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { memorySource, openArchive } from '../src/index.ts'
import { goldenAttributes, goldenFiles, goldenKeys } from './support/golden.ts'

describe('golden archives', () => {
  it('version 1 opens: slots of two releases, segments, alignment, zstd, d:/ymir work/', async () => {
    const bytes = new Uint8Array(readFileSync(new URL('golden/v1.m2p', import.meta.url)))
    expect(hexEncode(sha256(bytes))).toBe(readFileSync(new URL('golden/v1.sha256', import.meta.url), 'utf8').trim())
    const { contentKey, signingSeed } = goldenKeys(2)
    const archive = await openArchive(memorySource(bytes), {
      verifiers: new Map([[2, ed25519PublicKey(signingSeed)]]),
      contentKey,
    })
    expect(archive.slotNumbers).toEqual([1, 2])
    expect(archive.gaps.length).toBeGreaterThan(0)
    expect(archive.entries.map(({ path, slot }) => `${slot} ${path}`)).toEqual([
      '1 d:/ymir work/pc/ü.tga',
      '1 empty',
      '2 new/file.txt',
      '1 noise.bin',
      '1 segments.txt',
      '2 text.txt',
      '1 Ünï/çödé',
    ])
    for (const [path, content] of Object.entries(goldenFiles().second)) {
      expect(equalBytes(await archive.read(path.replace(/^ymir/, 'd:/ymir')), content), path).toBe(true)
    }
    expect(await archive.verify()).toMatchObject({ ok: true, filesChecked: 7 })
  })

  it('version 2 opens: slots of two releases, cuts by content, attributes and times', async () => {
    const bytes = new Uint8Array(readFileSync(new URL('golden/v2.m2p', import.meta.url)))
    expect(hexEncode(sha256(bytes))).toBe(readFileSync(new URL('golden/v2.sha256', import.meta.url), 'utf8').trim())
    const { contentKey, signingSeed } = goldenKeys(2)
    const archive = await openArchive(memorySource(bytes), {
      verifiers: new Map([[2, ed25519PublicKey(signingSeed)]]),
      contentKey,
    })
    expect(archive.version).toBe(2)
    expect(archive.slotNumbers).toEqual([1, 2])
    expect(archive.gaps.length).toBeGreaterThan(0)
    expect(archive.entry('segments.txt').segmentCount).toBeGreaterThan(1)
    for (const [path, content] of Object.entries(goldenFiles().second)) {
      const stored = path.replace(/^ymir/, 'd:/ymir')
      expect(equalBytes(await archive.read(stored), content), path).toBe(true)
      expect(archive.entry(stored)).toMatchObject(goldenAttributes(path))
    }
    expect(await archive.verify()).toMatchObject({ ok: true, filesChecked: 7 })
  })
})
