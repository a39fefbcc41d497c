import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultFolder } from '../../src/player/default-folder.ts'
import type { FolderContext } from '../../src/player/default-folder.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'downloads-'))
})
afterEach(async () => {
  await rm(root, { recursive: true, force: true })
})

const at = (folder: string, name: string): string =>
  defaultFolder({ root: folder, config: { id: 'my-game', name } as FolderContext['config'] })

describe('the folder that the first page offers', () => {
  it("has the game's name beside a portable launcher", () => {
    expect(at(root, 'My Game')).toBe(join(root, 'My Game'))
    expect(at(join(root, 'my-game'), 'My Game')).toBe(join(root, 'my-game', 'game'))
    expect(at(join(root, 'launcher'), 'My Game')).toBe(join(root, 'game'))
  })

  it('is never the launcher itself, which has the same name on Linux', async () => {
    await writeFile(join(root, 'my-game'), 'the executable')
    expect(at(root, 'my-game')).toBe(join(root, 'my-game files'))
    await writeFile(join(root, 'game'), 'the executable')
    expect(at(join(root, 'launcher'), 'game')).toBe(join(root, 'game files'))
  })
})
