import { chmod, lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FileSystem } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import { foldingFileSystem, upcase } from './support/folding.ts'
import { engineFor, installedTree, offline, temporaryFolder } from './support/install.ts'
import type { TestEngine } from './support/install.ts'
import { noise, Publisher } from './support/publisher.ts'
import type { TestFiles } from './support/publisher.ts'

const executable = (text: string) => ({ bytes: new TextEncoder().encode(text), executable: true })

/** An install of one release, and a server that has the next. */
async function between(
  first: TestFiles,
  second: TestFiles,
  change?: (folder: string) => Promise<void>,
  system?: (folder: string) => FileSystem,
): Promise<TestEngine & { publisher: Publisher; fs: FileSystem | undefined }> {
  const publisher = await Publisher.create()
  const folder = await temporaryFolder('fast')
  const fs = system?.(folder)
  await publisher.release(first)
  await (await engineFor(publisher, { folder, fs })).engine.update()
  await change?.(folder)
  await publisher.release(second)
  return { ...(await engineFor(publisher, { folder, fs })), publisher, fs }
}

async function texts(folder: string): Promise<Record<string, string>> {
  const found = [...(await installedTree(folder))].map(([path, bytes]): [string, string] => [
    path,
    new TextDecoder().decode(bytes),
  ])
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)))
}

const modeOf = async (path: string): Promise<number> => (await lstat(path)).mode & 0o777
const blobs = ({ served }: TestEngine): string[] =>
  served.filter(({ path }) => path.startsWith('files/')).map(({ path }) => path)

interface Remembering {
  readonly fold?: (name: string) => string
  /** How often a name is answered for after it is gone. */
  readonly answers?: number
}

/**
 * A folding file system that goes on answering for a name it was asked for under one spelling after the file or folder
 * is gone under another, for some questions: what FUSE does for a second.
 */
function remembering(folder: string, { fold, answers = 3 }: Remembering = {}): FileSystem {
  const fs = foldingFileSystem(folder, fold)
  const seen = new Map<string, { stats: object; left: number }>()
  const forget = (path: string): void => void seen.delete(path)
  const answersFor = (path: string): object | undefined => {
    const known = seen.get(path)
    if (known === undefined || known.left === 0) return undefined
    known.left -= 1
    return known.stats
  }
  const lstat = async (path: string, options?: object): Promise<unknown> => {
    try {
      const stats = await fs.lstat(path, options as undefined)
      seen.set(path, { stats, left: answers })
      return stats
    } catch (error) {
      const stats = answersFor(path)
      if (stats === undefined) throw error
      return stats
    }
  }
  const bavail = 16 * 1024 * 1024 + 4_000
  const statfs = async (path: string): Promise<object> => ({
    ...(await fs.statfs(path)),
    bsize: 1,
    blocks: 1e12,
    bavail,
  })
  const rmdir = async (path: string): Promise<void> => {
    await fs.rmdir(path)
    forget(path)
  }
  const rename = async (from: string, to: string): Promise<void> => {
    await fs.rename(from, to)
    forget(from)
  }
  const rm = async (path: string, options?: object): Promise<void> => {
    await fs.rm(path, options)
    forget(path)
  }
  return { ...fs, lstat, statfs, rename, rm, rmdir } as unknown as FileSystem
}

describe('update() where the system still answers for a name that is gone under another spelling (row 300)', () => {
  it('makes the folder again, also when an earlier part of the same update removed it', async () => {
    const [old, fresh] = ['old '.repeat(500), 'new '.repeat(700)]
    const first = { 'data/readme/a': old, 'data/readme/b': old.slice(1) }
    const second = { 'data/README/a': fresh, 'data/README/b': fresh.slice(1) }
    const { publisher, folder, fs } = await between(first, second, undefined, (install) => remembering(install))
    const { engine } = await engineFor(publisher, { folder, fs, lowSpace: true })
    expect((await engine.update()).outcome).toBe('updated')
    expect(await texts(folder)).toEqual(second)
  })

  it('puts a folder where a file was, also when an earlier part of the same update removed it', async () => {
    const second = { 'DATA/a': 'a'.repeat(2500), c: 'c'.repeat(2000) }
    const first = { data: 'old '.repeat(400), c: 'c'.repeat(1000) }
    const { publisher, folder, fs } = await between(first, second, undefined, (install) => remembering(install))
    const { engine } = await engineFor(publisher, { folder, fs, lowSpace: true })
    expect((await engine.update()).outcome).toBe('updated')
    expect(await texts(folder)).toEqual(second)
  })
})

it('update() waits for a remembered name although the player has a file whose name is alike (row 300)', async () => {
  const { engine, folder } = await between(
    { 'ä/STRASSE': 'old', keep: 'x' },
    { 'Ä/STRASSE': 'new', keep: 'x' },
    async (install) => {
      await mkdir(join(install, 'ä/straße'))
      await writeFile(join(install, 'ä/straße/own'), 'mine')
    },
    (install) => remembering(install, { fold: upcase, answers: 5 }),
  )
  expect((await engine.update()).outcome).toBe('updated')
  expect(Object.values(await texts(folder)).toSorted()).toEqual(['mine', 'new', 'x'])
})

describe('update() where names change in spelling only, on a file system that folds them, (row 300)', () => {
  for (const [what, first, second] of [
    ['case, same bytes', { 'Fusion.mp3': 'sound' }, { 'fusion.mp3': 'sound' }],
    ['case, other bytes', { 'Fusion.mp3': 'sound' }, { 'fusion.mp3': 'noise' }],
    ['case of folder and file', { 'Data/A.txt': '1' }, { 'data/a.txt': '2' }],
    ['more than case', { straße: 'road', 'Ärger/x': '1' }, { STRASSE: 'road', 'ärger/x': '1' }],
    ['case of a folder with much in it', { 'Maps/a': '1', 'Maps/b/c': '2' }, { 'maps/a': '1', 'maps/b/c': '3' }],
    ['a folder that becomes a file', { 'README/en': '1' }, { readme: '2' }],
    ['a file that becomes a folder', { README: '1' }, { 'readme/en': '2' }],
  ] as const) {
    it(`${what}: nothing is lost, and the new spelling is there`, async () => {
      const keep = { 'keep.txt': 'x' }
      const { engine, folder } = await between(
        { ...first, ...keep },
        { ...second, ...keep },
        undefined,
        foldingFileSystem,
      )
      const { outcome } = await engine.update()
      expect(outcome).toBe('updated')
      expect(await texts(folder)).toEqual({ ...second, ...keep })
      expect(await engine.repair()).toMatchObject({ outcome: 'up-to-date', downloadedBytes: 0 })
      expect(await engine.rollback()).toMatchObject({ outcome: 'rolled-back' })
      expect(await texts(folder)).toEqual({ ...first, ...keep })
    })
  }

  it('fetches nothing for it', async () => {
    const run = await between(
      { 'Big.bin': noise(600_000, 5) },
      { 'big.bin': noise(600_000, 5) },
      undefined,
      foldingFileSystem,
    )
    expect(await run.engine.update()).toMatchObject({ outcome: 'updated', writtenFiles: 1 })
    expect(blobs(run)).toEqual([])
    expect(await readdir(run.folder)).toContain('big.bin')
  })

  it('replaces a file that the player changed as under its old spelling', async () => {
    const change = async (folder: string): Promise<void> => await writeFile(join(folder, 'Fusion.mp3'), 'mine')
    const run = await between({ 'Fusion.mp3': 'sound' }, { 'fusion.mp3': 'noise' }, change, foldingFileSystem)
    expect(await run.engine.update()).toMatchObject({ outcome: 'updated', keptFiles: [] })
    expect(await texts(run.folder)).toEqual({ 'fusion.mp3': 'noise' })
  })
})

describe('update() where a name changes what it is', () => {
  it('puts a file where a folder of the old release was (row 301)', async () => {
    const { engine, folder } = await between(
      { 'readme/en.txt': 'old', 'readme/deep/cs.txt': 'old' },
      { readme: 'new' },
      async (install) => void (await mkdir(join(install, 'readme/empty'))),
    )
    expect(await engine.update()).toMatchObject({ outcome: 'updated', removedFiles: 2, setAside: [] })
    expect(await texts(folder)).toEqual({ readme: 'new' })
    await engine.rollback()
    expect(await texts(folder)).toEqual({ 'readme/en.txt': 'old', 'readme/deep/cs.txt': 'old' })
  })

  it('puts a folder where a file of the old release was (row 301)', async () => {
    const { engine, folder } = await between({ readme: 'old' }, { 'readme/en.txt': 'new', 'readme/deep/cs.txt': 'new' })
    expect(await engine.update()).toMatchObject({ outcome: 'updated', setAside: [] })
    expect(await texts(folder)).toEqual({ 'readme/en.txt': 'new', 'readme/deep/cs.txt': 'new' })
    await engine.rollback()
    expect(await texts(folder)).toEqual({ readme: 'old' })
  })

  it('moves contents between a file and a folder without fetching them', async () => {
    const run = await between(
      { 'a/x': noise(3000, 1), b: noise(3000, 2) },
      { a: noise(3000, 2), 'b/x': noise(3000, 1) },
    )
    await run.engine.update()
    expect(blobs(run)).toEqual([])
    expect([...(await installedTree(run.folder))].sort()).toEqual([
      ['a', noise(3000, 2)],
      ['b/x', noise(3000, 1)],
    ])
  })

  it('fetches nothing when contents change places (row 303)', async () => {
    const [a, b, c] = [noise(300_000, 1), noise(300_000, 2), noise(1000, 3)]
    for (const index of [true, false]) {
      const publisher = await Publisher.create()
      await publisher.release({ a, b, c }, { index })
      const { folder } = await engineFor(publisher)
      await (await engineFor(publisher, { folder })).engine.update()
      await publisher.release({ a: b, b: c, c: a }, { index })
      const run = await engineFor(publisher, { folder })
      await run.engine.update()
      expect(blobs(run).filter((path) => !isIndex(path, publisher))).toEqual([])
      expect(Object.fromEntries(await installedTree(folder))).toEqual({ a: b, b: c, c: a })
    }
  })

  it('fetches what only seemed to be on the disk', async () => {
    const change = async (folder: string): Promise<void> => await writeFile(join(folder, 'a'), 'xx')
    const run = await between({ a: 'aa', b: 'bb' }, { a: 'bb', b: 'aa' }, change)
    await run.engine.update()
    expect(await texts(run.folder)).toEqual({ a: 'bb', b: 'aa' })
    expect(blobs(run)).toHaveLength(1)
  })
})

function isIndex(path: string, { last }: Publisher): boolean {
  return last?.model.files.some(({ index }) => index !== undefined && path.endsWith(index.sha256)) === true
}

describe.skipIf(process.platform === 'win32')('the executable bit', () => {
  it('follows the release, also where nothing else changed (row 302)', async () => {
    const run = await between({ run: 'x', tool: executable('y') }, { run: executable('x'), tool: 'y' })
    expect(await run.engine.update()).toMatchObject({
      outcome: 'updated',
      writtenFiles: 2,
      downloadedBytes: expect.any(Number),
    })
    expect(blobs(run)).toEqual([])
    expect([await modeOf(join(run.folder, 'run')), await modeOf(join(run.folder, 'tool'))]).toEqual([0o755, 0o644])
    await run.engine.rollback()
    expect([await modeOf(join(run.folder, 'run')), await modeOf(join(run.folder, 'tool'))]).toEqual([0o644, 0o755])
  })

  it('that was lost comes back by a repair and by a start, also offline (row 302)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'run.mjs': executable('process.exitCode = 0') })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const place = join(folder, 'run.mjs')
    await chmod(place, 0o644)
    expect(await engine.repair()).toMatchObject({ outcome: 'repaired', writtenFiles: 1 })
    expect(await modeOf(place)).toBe(0o755)
    expect(await engine.repair()).toMatchObject({ outcome: 'up-to-date' })
    await chmod(place, 0o600)
    const away = await engineFor(publisher, { folder, fetch: offline, program: ['/bin/true'] })
    await away.engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] }).catch(() => undefined)
    expect(await modeOf(place)).toBe(0o755)
  })
})

describe("what is the player's own and in the way", () => {
  for (const verb of ['repair', 'update'] as const) {
    it(`is set aside once where the release spells one folder in two ways, ${verb} (row 304)`, async () => {
      const release = { 'data/a': '1', 'DATA/b': '2' }
      const inTheWay = async (folder: string): Promise<void> => {
        const name = (await readdir(folder)).find((each) => each.toLowerCase() === 'data') ?? ''
        await rm(join(folder, name), { recursive: true })
        await writeFile(join(folder, name), 'mine')
      }
      const { engine, folder } = await between(release, release, inTheWay, foldingFileSystem)
      const { setAside } = await engine[verb]()
      expect(setAside.map(({ path }) => path.toLowerCase())).toEqual(['data'])
      const found = await texts(folder)
      expect(Object.values(found).toSorted()).toEqual(['1', '2', 'mine'])
    })

    it(`is set aside beside its place and named: a file where the release has a folder, ${verb} (row 304)`, async () => {
      const files = { 'data/a.txt': 'a', 'data/b/c.txt': 'c' }
      const publisher = await Publisher.create()
      await publisher.release(files)
      const { engine, folder, events } = await engineFor(publisher)
      await engine.update()
      await rm(join(folder, 'data'), { recursive: true })
      await writeFile(join(folder, 'data'), 'mine')
      expect(await engine[verb]()).toMatchObject({
        outcome: 'repaired',
        setAside: [{ path: 'data', to: 'data.set-aside' }],
      })
      expect(await texts(folder)).toEqual({ ...files, 'data.set-aside': 'mine' })
      const notice = events.find((event) => event.type === 'notice' && event.code === 'LA_SET_ASIDE')
      expect(notice).toMatchObject({ message: expect.stringContaining('"data.set-aside"') })
    })
  }

  it('is set aside whole where the release has a file, and a second time under another name', async () => {
    const { engine, folder, publisher } = await between(
      { 'readme/en.txt': 'x', a: '1' },
      { readme: 'new', a: '1' },
      async (install) => {
        await writeFile(join(install, 'readme/mine.txt'), 'mine')
      },
    )
    expect(await engine.update()).toMatchObject({ setAside: [{ path: 'readme', to: 'readme.set-aside' }] })
    expect(await texts(folder)).toEqual({ a: '1', readme: 'new', 'readme.set-aside/mine.txt': 'mine' })
    await rename(join(folder, 'readme'), join(folder, 'was'))
    await mkdir(join(folder, 'readme'))
    await writeFile(join(folder, 'readme/more.txt'), 'more')
    const again = await engineFor(publisher, { folder })
    expect(await again.engine.repair()).toMatchObject({ setAside: [{ path: 'readme', to: 'readme.set-aside-2' }] })
  })

  it('is set aside where the next release has a file of that name that this one does not know', async () => {
    const { engine, folder } = await between({ a: '1' }, { a: '1', 'notes.txt': 'theirs' }, async (install) => {
      await writeFile(join(install, 'notes.txt'), 'mine')
    })
    expect(await engine.update()).toMatchObject({ setAside: [{ path: 'notes.txt', to: 'notes.txt.set-aside' }] })
    expect(await texts(folder)).toEqual({ a: '1', 'notes.txt': 'theirs', 'notes.txt.set-aside': 'mine' })
  })
})

describe('a folder that the player moved to another disk by a link (row 305)', () => {
  async function moved(): Promise<{ publisher: Publisher; folder: string; outside: string }> {
    const publisher = await Publisher.create()
    await publisher.release({ 'loose/a': '1', 'loose/b': '1', c: '1' })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const outside = join(await temporaryFolder(), 'loose')
    await rename(join(folder, 'loose'), outside).catch(async () => {
      await mkdir(outside)
      for (const name of ['a', 'b']) await writeFile(join(outside, name), '1')
      await rm(join(folder, 'loose'), { recursive: true })
    })
    await symlink(outside, join(folder, 'loose'))
    return { publisher, folder, outside }
  }

  it('is refused with the way to allow it, and used once it is allowed', async () => {
    const { publisher, folder, outside } = await moved()
    await publisher.release({ 'loose/a': '2', 'loose/d': '2', c: '1' })
    const strict = await engineFor(publisher, { folder })
    await expect(strict.engine.update()).rejects.toMatchObject({
      code: 'LA_SYMLINK',
      hint: expect.stringContaining('--linked-folder loose'),
    })
    const { engine } = await engineFor(publisher, { folder, linkedFolders: ['loose'] })
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    expect((await readdir(outside)).sort()).toEqual(['a', 'd'])
    expect(await readFile(join(outside, 'a'), 'utf8')).toBe('2')
    expect((await lstat(join(folder, 'loose'))).isSymbolicLink()).toBe(true)
    expect(await engine.repair()).toMatchObject({ outcome: 'up-to-date' })
    await engine.rollback()
    expect((await readdir(outside)).sort()).toEqual(['a', 'b'])
  })

  it('that leads nowhere is refused in words', async () => {
    const { publisher, folder, outside } = await moved()
    await rm(outside, { recursive: true })
    const { engine } = await engineFor(publisher, { folder, linkedFolders: ['loose'] })
    await expect(engine.repair()).rejects.toMatchObject({
      code: 'LA_SYMLINK',
      hint: expect.stringContaining('Connect the disk'),
    })
  })
})
