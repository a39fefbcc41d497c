import { faultFileSystem } from '@keyturn/primitives/testing'
import { equalBytes } from '@keyturn/primitives'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { buildFolder, rewrapFile } from '../src/node/index.ts'
import { contentKey, seed, slots, verifiers } from './support/craft.ts'
import { temporaryFolder, writeTree } from './support/tree.ts'

const nextKey = { keyId: 8, key: new Uint8Array(32).fill(8) }

/**
 * Runs `write` with the n-th changing call going wrong, for every n until a run passes; the target is old or new, never
 * mixed.
 */
async function sweep(
  root: string,
  target: string,
  fresh: Uint8Array,
  write: (fs: ReturnType<typeof faultFileSystem>) => Promise<unknown>,
): Promise<number> {
  const old = readFileSync(target)
  for (const mode of ['fail', 'short-write', 'crash'] as const) {
    for (let at = 0; ; at++) {
      writeFileSync(target, old)
      const fs = faultFileSystem({ plan: { at, mode, code: 'EIO' } })
      const failed = await write(fs).then(
        () => false,
        () => true,
      )
      const now = readFileSync(target)
      expect(equalBytes(now, old) || equalBytes(now, fresh)).toBe(true)
      expect(fs.openHandles).toBe(0)
      if (!failed) expect(equalBytes(now, fresh)).toBe(true)
      // A crash leaves its temporary file, as a killed process would; a failure cleans up after itself.
      if (mode !== 'crash') expect(readdirSync(root).filter((name) => name.endsWith('.tmp'))).toEqual([])
      if (!fs.fired) break
      if (at > 500) throw new Error('The sweep does not end')
    }
  }
  return old.length
}

describe('a disk that fails', () => {
  it('leaves the old archive or the new one after buildFolder(), whichever call goes wrong', async () => {
    const root = temporaryFolder()
    writeTree(join(root, 'tree'), { 'a.txt': 'a', 'b/c.txt': 'c'.repeat(1000) })
    const options = { contentKey, signingSeed: seed, slots, overwrite: true }
    await buildFolder(join(root, 'tree'), join(root, 'fresh.m2p'), options)
    writeFileSync(join(root, 'x.m2p'), 'old')
    const fresh = readFileSync(join(root, 'fresh.m2p'))
    expect(
      await sweep(root, join(root, 'x.m2p'), fresh, (fs) =>
        buildFolder(join(root, 'tree'), join(root, 'x.m2p'), { ...options, fs }),
      ),
    ).toBe(3)
  })

  it('leaves the old archive or the new one after rewrapFile() in place', async () => {
    const root = temporaryFolder()
    writeTree(join(root, 'tree'), { 'a.txt': 'a', 'b/c.txt': 'c'.repeat(1000) })
    const target = join(root, 'x.m2p')
    await buildFolder(join(root, 'tree'), target, { contentKey, signingSeed: seed, slots })
    const open = { verifiers, contentKey }
    await rewrapFile(target, join(root, 'fresh.m2p'), { open, contentKey: nextKey, signingSeed: seed })
    const fresh = readFileSync(join(root, 'fresh.m2p'))
    await sweep(root, target, fresh, (fs) =>
      rewrapFile(target, target, { open, contentKey: nextKey, signingSeed: seed, overwrite: true, fs }),
    )
  })
})
