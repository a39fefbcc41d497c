import { execFileSync } from 'node:child_process'
import { chmod, lchown, lstat, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Journal, nodeFileSystem, pathExists, systemErrorCode, writeFileAtomic } from '../src/node/index.ts'
import { faultFileSystem } from '../src/testing/index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-files-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

async function code(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

/** Every file below `root` with its content. */
async function snapshot(root: string): Promise<Record<string, string>> {
  const names = (await readdir(root, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  const entries = await Promise.all(
    names.map(async (entry) => {
      const path = join(entry.parentPath, entry.name)
      return [path.slice(root.length + 1), await readFile(path, 'utf8')] as const
    }),
  )
  return Object.fromEntries(entries.toSorted())
}

describe('writeFileAtomic()', () => {
  it('writeFileAtomic() writes bytes and streams, with the mode asked for', async () => {
    await writeFileAtomic(join(folder, 'a'), text('one'), { mode: 0o600 })
    async function* parts(): AsyncIterable<Uint8Array> {
      yield text('tw')
      yield text('o')
    }
    await writeFileAtomic(join(folder, 'b'), parts())
    expect(await snapshot(folder)).toEqual({ a: 'one', b: 'two' })
    expect((await stat(join(folder, 'a'))).mode & 0o777).toBe(0o600)
  })

  it('writeFileAtomic() with overwrite off leaves an existing file alone', async () => {
    await writeFileAtomic(join(folder, 'a'), text('old'), { overwrite: false })
    expect(await code(writeFileAtomic(join(folder, 'a'), text('new'), { overwrite: false }))).toBe('PRIM_EXISTS')
    await expect(writeFileAtomic(join(folder, 'a'), text('new'), { overwrite: false })).rejects.toThrow(
      `Cannot write "${join(folder, 'a')}": it exists already`,
    )
    expect(await snapshot(folder)).toEqual({ a: 'old' })
  })

  it('writeFileAtomic() never takes the place of a pipe or device', async () => {
    const path = join(folder, 'pipe')
    execFileSync('mkfifo', [path])
    expect(await code(writeFileAtomic(path, text('new')))).toBe('PRIM_FILE')
    expect((await lstat(path)).isFIFO()).toBe(true)
    expect(await readdir(folder)).toEqual(['pipe'])
  })

  it('writeFileAtomic() passes on an error of the stream and keeps the old file', async () => {
    await writeFileAtomic(join(folder, 'a'), text('old'))
    async function* broken(): AsyncIterable<Uint8Array> {
      yield text('half')
      throw new Error('stream broke')
    }
    await expect(writeFileAtomic(join(folder, 'a'), broken())).rejects.toThrow('stream broke')
    expect(await snapshot(folder)).toEqual({ a: 'old' })
  })

  it.each(['fail', 'crash'] as const)(
    'writeFileAtomic() leaves the old or the new file at every call (%s)',
    async (mode) => {
      let runs = 0
      for (let at = 0; ; at++) {
        await writeFile(join(folder, 'a'), 'old')
        const fs = faultFileSystem({ plan: { at, mode, code: 'ENOSPC' } })
        const outcome = await code(writeFileAtomic(join(folder, 'a'), text('new'), { fs }))
        expect(fs.openHandles).toBe(0)
        expect(['old', 'new']).toContain(await readFile(join(folder, 'a'), 'utf8'))
        if (!fs.fired) break
        runs++
        expect(outcome).toBe('PRIM_DISK_FULL')
        if (mode === 'fail') expect(await readdir(folder)).toEqual(['a'])
      }
      expect(runs).toBe(4)
    },
  )

  it.each([
    [true, 2],
    [false, 0],
  ])('writeFileAtomic() with durable %s syncs %i times: the file, then its folder', async (durable, expected) => {
    const fs = faultFileSystem()
    await writeFileAtomic(join(folder, 'a'), text('content'), { durable, fs })
    expect(fs.operations.filter(({ name }) => name === 'handle.sync')).toHaveLength(expected)
    expect(await snapshot(folder)).toEqual({ a: 'content' })
  })

  it('writeFileAtomic() goes on after a short write', async () => {
    const fs = faultFileSystem({ plan: { at: 0, mode: 'short-write' } })
    await writeFileAtomic(join(folder, 'a'), text('whole content'), { fs })
    expect(fs.fired).toBe(true)
    expect(await snapshot(folder)).toEqual({ a: 'whole content' })
  })
})

describe('resolveLink()', () => {
  async function disks(): Promise<{ link: string; file: string }> {
    await mkdir(join(folder, 'stick', 'deep'), { recursive: true })
    await mkdir(join(folder, 'home'))
    const file = join(folder, 'stick', 'deep', 'next.key')
    await writeFile(file, 'old')
    await symlink('../stick/deep', join(folder, 'home', 'by-folder'))
    await symlink('by-folder/../deep/next.key', join(folder, 'home', 'second'))
    await symlink('second', join(folder, 'home', 'link'))
    return { link: join(folder, 'home', 'link'), file }
  }

  it('writeFileAtomic() writes the file that a link leads to, and the link stays one', async () => {
    const { link, file } = await disks()
    await writeFileAtomic(link, text('new'))
    expect(await readFile(file, 'utf8')).toBe('new')
    expect((await lstat(link)).isSymbolicLink()).toBe(true)
    expect(await readdir(join(folder, 'stick', 'deep'))).toEqual(['next.key'])
    expect((await readdir(join(folder, 'home'))).sort()).toEqual(['by-folder', 'link', 'second'])
  })

  it.each(['fail', 'crash'] as const)(
    'writeFileAtomic() through a link leaves the old or the new file at every call (%s)',
    async (mode) => {
      const { link, file } = await disks()
      for (let at = 0; ; at++) {
        await writeFile(file, 'old')
        const fs = faultFileSystem({ plan: { at, mode }, counts: () => true })
        await code(writeFileAtomic(link, text('new'), { fs }))
        expect(fs.openHandles).toBe(0)
        expect(['old', 'new']).toContain(await readFile(file, 'utf8'))
        expect((await lstat(link)).isSymbolicLink()).toBe(true)
        if (!fs.fired) break
      }
    },
  )

  it('writeFileAtomic() refuses a link to a disk that is not there, and a circle of links', async () => {
    const gone = join(folder, 'gone')
    await symlink(join(folder, 'stick', 'next.key'), gone)
    expect(await code(writeFileAtomic(gone, text('new')))).toBe('PRIM_LINK')
    await mkdir(join(folder, 'stick'))
    expect(await code(writeFileAtomic(gone, text('new')))).toBe('PRIM_LINK')
    await symlink('circle', join(folder, 'circle'))
    expect(await code(writeFileAtomic(join(folder, 'circle'), text('new')))).toBe('PRIM_LINK')
    expect((await readdir(folder)).sort()).toEqual(['circle', 'gone', 'stick'])
  })

  it('writeFileAtomic() with overwrite off never writes through a link', async () => {
    const { link, file } = await disks()
    expect(await code(writeFileAtomic(link, text('new'), { overwrite: false }))).toBe('PRIM_EXISTS')
    expect(await readFile(file, 'utf8')).toBe('old')
  })

  it('writeFileAtomic() never replaces a device or pipe that a link leads to', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')])
    await symlink('pipe', join(folder, 'link'))
    expect(await code(writeFileAtomic(join(folder, 'link'), text('new')))).toBe('PRIM_FILE')
    expect((await lstat(join(folder, 'pipe'))).isFIFO()).toBe(true)
  })

  it.runIf(process.geteuid?.() === 0)(
    'writeFileAtomic() does not follow a link that another user placed in a folder open to all',
    async () => {
      const open = join(folder, 'tmp')
      await mkdir(open)
      await chmod(open, 0o1777)
      await writeFile(join(folder, 'precious'), 'old')
      await symlink('../precious', join(open, 'out'))
      await lchown(join(open, 'out'), 65534, 65534)
      expect(await code(writeFileAtomic(join(open, 'out'), text('new')))).toBe('PRIM_LINK')
      expect(await readFile(join(folder, 'precious'), 'utf8')).toBe('old')
      await chmod(open, 0o755)
      await writeFileAtomic(join(open, 'out'), text('new'))
      expect(await readFile(join(folder, 'precious'), 'utf8')).toBe('new')
    },
  )
})

describe('Journal', () => {
  const before = { a: 'old a', 'sub/gone': 'old' }
  const after = { a: 'new a', 'deep/er/b': 'new b' }
  const changes = [
    { path: 'a', bytes: text('new a') },
    { path: 'deep/er/b', bytes: text('new b') },
    { path: 'sub/gone', remove: true },
  ] as const

  async function start(): Promise<void> {
    await rm(folder, { recursive: true })
    await mkdir(join(folder, 'sub'), { recursive: true })
    for (const [path, content] of Object.entries(before)) await writeFile(join(folder, path), content)
  }

  it.each(['fail', 'crash'] as const)(
    'Journal: after recover() all files are old or all are new, at every call (%s)',
    async (mode) => {
      const seen = { old: 0, new: 0 }
      for (let at = 0; ; at++) {
        await start()
        const fs = faultFileSystem({ plan: { at, mode } })
        await code(new Journal(folder, { fs }).commit(changes))
        expect(fs.openHandles).toBe(0)
        await new Journal(folder).recover()
        const now = await snapshot(folder)
        expect([before, after]).toContainEqual(now)
        seen['a' in now && now['a'] === 'old a' ? 'old' : 'new']++
        if (!fs.fired) break
      }
      expect(seen.old).toBeGreaterThan(5)
      expect(seen.new).toBeGreaterThan(4)
    },
  )

  it('Journal.recover() can itself be killed at every call', async () => {
    for (let at = 0; ; at++) {
      await start()
      await code(new Journal(folder, { fs: stopAfterCommit(faultFileSystem()) }).commit(changes))
      const fs = faultFileSystem({ plan: { at, mode: 'crash' } })
      await code(new Journal(folder, { fs }).recover())
      await new Journal(folder).recover()
      expect(await snapshot(folder)).toEqual(after)
      if (!fs.fired) break
      expect(at).toBeLessThan(100)
    }
  })

  /** Dies right after the commit record got its name. */
  function stopAfterCommit(fs: ReturnType<typeof faultFileSystem>): typeof nodeFileSystem {
    let decided = false
    return new Proxy(fs, {
      get(target, key, receiver) {
        const real: unknown = Reflect.get(target, key, receiver)
        if (key !== 'rename' || typeof real !== 'function') return real
        return async (from: string, to: string) => {
          if (decided) throw Object.assign(new Error('killed'), { code: 'ECRASH' })
          await nodeFileSystem.rename(from, to)
          decided = to.endsWith('commit.json')
        }
      },
    })
  }

  it('Journal.recover() refuses a damaged record or stage and touches nothing', async () => {
    await start()
    await code(new Journal(folder, { fs: stopAfterCommit(faultFileSystem()) }).commit(changes))
    const stage = (await readdir(join(folder, '.journal'))).find((name) => name.startsWith('0-')) ?? ''
    await writeFile(join(folder, '.journal', stage), 'other')
    const found = await snapshot(folder)
    expect(await code(new Journal(folder).recover())).toBe('PRIM_JOURNAL')
    expect(await snapshot(folder)).toEqual(found)
    await writeFile(join(folder, '.journal', 'commit.json'), '{"format":"keyturn-journal-1","steps":[{"path":"../x"}]}')
    expect(await code(new Journal(folder).recover())).toBe('PRIM_JOURNAL')
  })

  it('Journal.commit() refuses a file that is a symbolic link and changes nothing', async () => {
    await start()
    await symlink('a', join(folder, 'link'))
    const changes = [
      { path: 'sub/gone', bytes: text('new') },
      { path: 'link', bytes: text('new') },
    ]
    expect(await code(new Journal(folder).commit(changes))).toBe('PRIM_LINK')
    await new Journal(folder).recover()
    expect(await snapshot(folder)).toEqual(before)
  })

  it('Journal.commit() refuses paths that leave the folder', async () => {
    for (const path of ['../a', '/a', 'a//b', '.', '', 'a\\b']) {
      await expect(new Journal(folder).commit([{ path, bytes: text('x') }])).rejects.toThrow(RangeError)
    }
  })
})

it('pathExists() and systemErrorCode() tell what is there', async () => {
  expect(await pathExists(join(folder, 'none', 'x'))).toBe(false)
  expect(await pathExists(folder)).toBe(true)
  expect(systemErrorCode(new Error('plain'))).toBeUndefined()
})
