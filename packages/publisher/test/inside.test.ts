import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { isStoredInside, pathInside } from '../src/inside.ts'

let root = ''
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'keyturn-inside-')))
  for (const name of ['home', 'home-of-another', 'stick']) {
    await mkdir(join(root, name))
    await writeFile(join(root, name, 'key'), '')
  }
  await symlink(join(root, 'stick', 'key'), join(root, 'home', 'link-to-stick'))
  await symlink(join(root, 'home'), join(root, 'way-to-home'))
})
afterAll(() => rm(root, { recursive: true }))

it.each([
  ['/a', '/a', ''],
  ['/a', '/a/b/../c', 'c'],
  ['/a', '/a/..b', '..b'],
  ['/a', '/ab', undefined],
  ['/a/b', '/a', undefined],
  ['/a/b', '/a/c', undefined],
])('pathInside(%s, %s) is %s', (folder, path, expected) => {
  expect(pathInside(folder, path)).toBe(expected)
})

it('isStoredInside() looks where the bytes are, not at names that begin alike', async () => {
  const inHome = (folder: string, ...names: string[]): Promise<boolean> =>
    isStoredInside(join(root, folder), join(root, ...names))
  expect(await inHome('home', 'home', 'key')).toBe(true)
  expect(await inHome('way-to-home', 'home', 'key')).toBe(true)
  expect(await inHome('home', 'home-of-another', 'key')).toBe(false)
  expect(await inHome('home', 'home', 'link-to-stick')).toBe(false)
  expect(await inHome('home', 'home', 'missing')).toBe(false)
})
