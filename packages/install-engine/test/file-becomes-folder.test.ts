import { existsSync } from 'node:fs'
import { cp, lstat, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { describe, expect, it } from 'vitest'
import { removeFile } from '../src/disk/disk.ts'
import { layoutOf } from '../src/disk/layout.ts'
import { FolderGuard } from '../src/disk/folder-guard.ts'
import { removeEmptyTree } from '../src/place/move.ts'
import { moveIfThere, moveIntoPlace } from '../src/place/remembered.ts'
import { foldingFileSystem } from './support/folding.ts'
import { engineFor, installedTree, offline, temporaryFolder } from './support/install.ts'
import { Publisher } from './support/publisher.ts'
import type { TestFiles } from './support/publisher.ts'

const systems: Readonly<Record<string, (folder: string) => FileSystem>> = {
  plain: () => nodeFileSystem,
  folding: foldingFileSystem,
}

/** One of so many calls is a kill point. */
const everyNth = Number(process.env['KEYTURN_CRASH_STEP'] ?? '8')
const MINE = 'mine'
const LAST_CALL = 200

interface Shape {
  readonly first: TestFiles
  readonly second: TestFiles
  /** Where a file becomes a folder, or a folder a file. */
  readonly place: string
}

const shapes: Readonly<Record<string, Shape>> = {
  'a file becomes a folder': {
    first: { 'a/A/README': 'old', same: 'same' },
    second: { 'a/A/README/x': 'new', same: 'same' },
    place: 'a/A/README',
  },
  'a folder becomes a file': {
    first: { 'a/A/README/x': 'old', same: 'same' },
    second: { 'a/A/README': 'new', same: 'same' },
    place: 'a/A/README',
  },
}

/** What somebody does between the kill and the next start. */
const acts: Readonly<Record<string, (place: string) => Promise<void>>> = {
  nothing: async () => undefined,
  'puts a file there': async (place) => {
    // The release's own file may already be there: that one is the update's to replace.
    if ((await lstat(place).catch(() => undefined))?.isFile() === true) return
    await rm(place, { recursive: true, force: true })
    await writeFile(place, MINE)
  },
  'removes what is there': async (place) => rm(place, { recursive: true, force: true }),
}

async function texts(folder: string): Promise<Record<string, string>> {
  const found = await installedTree(folder)
  return Object.fromEntries([...found].map(([path, bytes]) => [path, new TextDecoder().decode(bytes)]))
}

/** Kills an update at each call while its journal is on the disk; gives how often that was. */
async function killEverywhere(shape: Shape, system: (folder: string) => FileSystem, act: string): Promise<number> {
  const publisher = await Publisher.create()
  const start = await temporaryFolder('fast')
  await publisher.release(shape.first)
  await (await engineFor(publisher, { folder: start })).engine.update()
  await publisher.release(shape.second)
  let kills = 0
  for (let at = 0; at < LAST_CALL; at += everyNth) {
    const folder = await temporaryFolder('fast')
    await cp(start, folder, { recursive: true })
    const fs = system(folder)
    const dying = faultFileSystem({ plan: { at, mode: 'crash' }, fs })
    const options = { folder, logFile: false, lockPatienceMs: 0 }
    await (await engineFor(publisher, { ...options, fs: dying })).engine.update().catch(() => undefined)
    for (const name of ['lock', 'staging.lock']) await rm(join(folder, '.updates', name), { force: true })
    const isKilled = existsSync(join(folder, '.updates/txn.json'))
    if (isKilled) {
      kills += 1
      await acts[act]?.(join(folder, shape.place)).catch(() => undefined) // its folder may be gone
      await checkEnd({ publisher, shape, where: `killed at ${at}`, options: { ...options, fs } })
    }
    await rm(folder, { recursive: true, force: true })
    if (!dying.fired) break
  }
  return kills
}

interface Killed {
  readonly publisher: Publisher
  readonly shape: Shape
  readonly where: string
  readonly options: { readonly folder: string; readonly fs: FileSystem }
}

/** A start without a server, then an update: the new release, and nothing of the player's gone. */
async function checkEnd({ publisher, shape, where, options }: Killed): Promise<void> {
  const { folder } = options
  const isMine = Object.values(await texts(folder)).includes(MINE)
  const alone = await engineFor(publisher, { ...options, fetch: offline })
  const refusal = await alone.engine.update().then(
    () => undefined,
    (error: { code?: string }) => error.code,
  )
  expect(refusal, where).toBe('LA_NETWORK')
  expect(existsSync(join(folder, '.updates/txn.json')), `${where}: the journal is left`).toBe(false)
  const next = await engineFor(publisher, options)
  await next.engine.update().catch((error: unknown) => expect.fail(`${where}: ${String(error)}`))
  const found = await texts(folder)
  expect(found, where).toMatchObject(shape.second)
  const asides = Object.entries(found).filter(([path]) => !(path in shape.second))
  expect(
    asides.map(([, text]) => text),
    where,
  ).toEqual(isMine ? [MINE] : [])
  const notices = [...alone.events, ...next.events].filter((event) => 'code' in event && event.code === 'LA_SET_ASIDE')
  expect(notices, where).toHaveLength(isMine ? 1 : 0)
}

const cases = Object.keys(shapes).flatMap((what) =>
  Object.keys(systems).flatMap((name) => Object.keys(acts).map((act) => [what, name, act] as const)),
)

describe('an update killed at each call after its commit, a path changing between file and folder, (row 207)', () => {
  it.each(cases)(
    'ends as a fresh install: %s, %s file system, and somebody does this in between: %s',
    async (what, name, act) => {
      expect(await killEverywhere(shapes[what] as Shape, systems[name] as () => FileSystem, act)).toBeGreaterThan(2)
    },
    300_000,
  )
})

/** A file system that takes a path for something else than it is, until it was asked `times` times. */
function mistaken(calls: readonly (keyof FileSystem)[], path: string, times: number): FileSystem {
  let left = times
  const wrong = (name: keyof FileSystem) =>
    (async (...args: unknown[]) => {
      if (args.some((arg) => String(arg).startsWith(path)) && left-- > 0)
        throw Object.assign(new Error('ENOTDIR: not a directory'), { code: 'ENOTDIR' })
      return await (nodeFileSystem[name] as unknown as (...all: unknown[]) => Promise<unknown>)(...args)
    }) as never
  return { ...nodeFileSystem, ...Object.fromEntries(calls.map((name) => [name, wrong(name)])) }
}

describe('a file where a folder is expected (row 300)', () => {
  it('is as absent as nothing to what removes and moves', async () => {
    const folder = await temporaryFolder('fast')
    const file = join(folder, 'file')
    await writeFile(file, MINE)
    await removeFile(nodeFileSystem, join(file, 'x'))
    await moveIfThere({ fs: nodeFileSystem, lockPatienceMs: 0 }, join(file, 'x'), join(folder, 'y'))
    expect((await lstat(file)).isFile()).toBe(true)
  })

  it('is not removed as an empty folder, also when it came after the look', async () => {
    const folder = await temporaryFolder('fast')
    await writeFile(join(folder, 'file'), MINE)
    const fs = { ...nodeFileSystem, readdir: (async () => []) as never }
    expect(await removeEmptyTree(fs, join(folder, 'file'))).toBe(false)
    expect(await removeEmptyTree(fs, folder)).toBe(false)
    expect(await removeEmptyTree(fs, join(folder, 'file/x'))).toBe(true)
  })

  it('is waited for where the system only remembers it, and named where it stays', async () => {
    const folder = await temporaryFolder('fast')
    await writeFile(join(folder, 'from'), 'new')
    const remembers = mistaken(['rename'], join(folder, 'README'), 2)
    const move = async (fs: FileSystem): Promise<unknown> =>
      await moveIntoPlace({ fs, lockPatienceMs: 0 }, new FolderGuard(folder, fs), {
        from: join(folder, 'from'),
        root: layoutOf(folder).root,
        path: 'README/x',
      })
    expect(await move(remembers)).toBe('renamed')
    await writeFile(join(folder, 'from'), 'new')
    await rm(join(folder, 'README'), { recursive: true })
    await writeFile(join(folder, 'README'), MINE)
    await expect(move(nodeFileSystem)).rejects.toMatchObject({ code: 'LA_IN_THE_WAY' })
  })
})
