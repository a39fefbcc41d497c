import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nodeFileSystem, pathExists } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import { FolderGuard } from '../src/disk/folder-guard.ts'
import { temporaryFolder } from './support/install.ts'

describe('FolderGuard.makeParents()', () => {
  it('makes folders that are missing, and refuses a file in their place (LA_IN_THE_WAY)', async () => {
    const root = await temporaryFolder('fast')
    const guard = new FolderGuard(root, nodeFileSystem)
    await guard.makeParents('a/b/file.txt')
    expect(await pathExists(join(root, 'a/b'))).toBe(true)
    await writeFile(join(root, 'sound'), 'not a folder')
    await expect(guard.makeParents('sound/a.ogg')).rejects.toMatchObject({
      code: 'LA_IN_THE_WAY',
      details: { path: 'sound/a.ogg', obstacle: 'sound' },
    })
  })

  it('looks again at a folder after it was forgotten, in whatever spelling', async () => {
    const root = await temporaryFolder('fast')
    await mkdir(join(root, 'Data'))
    const guard = new FolderGuard(root, nodeFileSystem)
    expect(await guard.parentsAreReal('Data/a')).toBe(true)
    guard.forget('data')
    await guard.makeParents('Data/sub/a')
    expect(await pathExists(join(root, 'Data/sub'))).toBe(true)
  })
})
