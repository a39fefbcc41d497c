/** What a kill between two steps may leave behind, and what a player does before the launcher starts again. */
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import type { RecordedOperation } from '@keyturn/primitives/testing'
import { describe, expect, it } from 'vitest'
import { engineFor, expectedText, installedTree, offline, temporaryFolder, treeText } from './support/install.ts'
import { Publisher, sha256Hex } from './support/publisher.ts'

const first = { 'a.txt': 'one', 'b.txt': 'one', 'data/old.txt': 'old', 'z/gone.txt': 'gone' }
const second = { 'a.txt': 'two', 'b.txt': 'two' }

async function installed() {
  const publisher = await Publisher.create()
  const old = await publisher.release(first)
  const { engine, folder } = await engineFor(publisher, { folder: await temporaryFolder('fast') })
  await engine.update()
  const made = await publisher.release(second)
  const texts = { from: expectedText(old.files, sha256Hex), to: expectedText(made.files, sha256Hex) }
  return { publisher, folder, ...texts }
}

/** An update that is killed at a call; the launcher that had the lock is gone. */
async function killedAt(
  { publisher, folder }: { publisher: Publisher; folder: string },
  counts: (operation: RecordedOperation) => boolean,
  { at = 0, base = nodeFileSystem }: { at?: number; base?: FileSystem } = {},
): Promise<boolean> {
  const fs = faultFileSystem({ plan: { at, mode: 'crash' }, counts, fs: base })
  const { engine } = await engineFor(publisher, { folder, fs, logFile: false })
  await engine.update().catch(() => undefined)
  for (const name of await readdir(join(folder, '.updates')))
    if (/^(staging\.)?lock/.test(name)) await rm(join(folder, '.updates', name), { force: true })
  return fs.fired
}

/** The folder of the launcher on another volume than the install. */
const across: FileSystem = {
  ...nodeFileSystem,
  rename: async (a, b) => {
    const inside = (path: unknown): boolean => String(path).includes('/.updates/')
    if (inside(a) !== inside(b)) throw Object.assign(new Error('EXDEV'), { code: 'EXDEV' })
    await nodeFileSystem.rename(a, b)
  },
}

describe('an update that is killed', () => {
  it('while it copies to another volume leaves no half copy behind', async () => {
    for (let at = 0; ; at += 1) {
      const stage = await installed()
      const isCopy = ({ name, path }: RecordedOperation): boolean => name === 'rename' && path.endsWith('.keyturn')
      if (!(await killedAt(stage, isCopy, { at, base: across }))) return expect(at).toBeGreaterThan(3)
      const { engine } = await engineFor(stage.publisher, { folder: stage.folder, fs: across, fetch: offline })
      await engine.repair().catch(() => undefined)
      expect([stage.from, stage.to]).toContain(await treeText(stage.folder))
      const left = (await readdir(stage.folder, { recursive: true })).filter((name) => name.endsWith('.keyturn'))
      expect(left).toEqual([])
    }
  })

  it('keeps what a player changed meanwhile in a file that leaves, as one that is not killed does', async () => {
    const stage = await installed()
    const isRemoval = ({ name, path }: RecordedOperation): boolean => name === 'rename' && path.includes('z/gone.txt')
    expect(await killedAt(stage, isRemoval)).toBe(true)
    await writeFile(join(stage.folder, 'z/gone.txt'), 'a note of mine')
    const { engine, events } = await engineFor(stage.publisher, { folder: stage.folder })
    expect(await engine.update()).toMatchObject({ version: expect.any(String) as string })
    const tree = await installedTree(stage.folder)
    expect([...tree.keys()].toSorted()).toEqual(['a.txt', 'b.txt', 'z/gone.txt'])
    expect(Buffer.from(tree.get('z/gone.txt') ?? []).toString()).toBe('a note of mine')
    expect(events).toContainEqual(expect.objectContaining({ type: 'file', path: 'z/gone.txt', action: 'kept' }))
  })
})
