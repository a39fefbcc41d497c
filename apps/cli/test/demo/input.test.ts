import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { copyTree, editTree } from '../../src/demo/input.ts'

let folder = ''
const { signal } = new AbortController()
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-input-'))
  for (let n = 0; n < 100; n += 1) {
    await mkdir(join(folder, 'in', `f${n % 10}`), { recursive: true })
    await writeFile(
      join(folder, 'in', `f${n % 10}`, `${n}.txt`),
      n % 2 === 0 ? `text ${n}` : new Uint8Array(64).fill(0),
    )
  }
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe('copyTree()', () => {
  it('copies files and leaves links out', async () => {
    await symlink('/etc/passwd', join(folder, 'in', 'link'))
    const tree = await copyTree(join(folder, 'in'), join(folder, 'out'), signal)
    expect([tree.files, tree.skipped]).toEqual([100, 1])
  })

  it('refuses a tree without files', async () => {
    await mkdir(join(folder, 'empty'))
    await expect(copyTree(join(folder, 'empty'), join(folder, 'out'), signal)).rejects.toMatchObject({
      code: 'BUILD_EMPTY',
    })
  })
})

describe('editTree()', () => {
  it('changes exactly the share asked for, the same files each time', async () => {
    const changed: string[][] = []
    for (const round of ['a', 'b']) {
      const tree = await copyTree(join(folder, 'in'), join(folder, round), signal)
      expect(await editTree(tree, 0.05, 'seed', signal)).toMatchObject({ files: 5 })
      const different = []
      for (let n = 0; n < 100; n += 1) {
        const name = join(`f${n % 10}`, `${n}.txt`)
        const [before, after] = await Promise.all([
          readFile(join(folder, 'in', name)),
          readFile(join(folder, round, name)),
        ])
        if (!before.equals(after)) different.push(name)
      }
      expect(different).toHaveLength(5)
      changed.push(different)
    }
    expect(changed[0]).toEqual(changed[1])
  })
})
