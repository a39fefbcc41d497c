import { existsSync } from 'node:fs'
import { appendFile, chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { MemoryStore } from '../src/index.ts'
import type { VaultStore } from '../src/index.ts'
import { FolderStore } from '../src/node/index.ts'
import { SqliteStore } from '../src/sqlite/index.ts'
import { sampleRecord as record, storeContract } from '../src/store-contract/index.ts'

const root = await mkdtemp(join(tmpdir(), 'keyturn-stores-'))
let counter = 0
const fresh = (): string => join(root, `store-${counter++}`)
afterAll(() => rm(root, { recursive: true, force: true }))

const runner = { describe, it }
storeContract({ name: 'MemoryStore', open: async () => new MemoryStore() }, runner)
{
  const paths = new WeakMap<object, string>()
  const open = async (path = fresh()): Promise<FolderStore> => {
    const store = await FolderStore.open(path, { compactMinBytes: 400, compactGarbage: 0.3 })
    paths.set(store, path)
    return store
  }
  const reopen = async (store: VaultStore): Promise<FolderStore> => {
    await store.close()
    return open(paths.get(store))
  }
  storeContract({ name: 'FolderStore', open: () => open(), reopen }, runner)
}
{
  const paths = new WeakMap<object, string>()
  const open = async (path = fresh()): Promise<SqliteStore> => {
    const store = SqliteStore.open(path)
    paths.set(store, path)
    return store
  }
  const reopen = async (store: VaultStore): Promise<SqliteStore> => {
    await store.close()
    return open(paths.get(store))
  }
  storeContract({ name: 'SqliteStore', open: () => open(), reopen }, runner)
}

const fence = { name: 'keyring', bytes: new Uint8Array([1]), fence: { epoch: 1, activeVersion: 1 } }

async function names(store: FolderStore): Promise<string[]> {
  return (await store.scan({ limit: 1000 })).map(({ name }) => name)
}

describe('SqliteStore', () => {
  it('SqliteStore.open() refuses with a code where the runtime has no node:sqlite, and leaves no file', () => {
    const path = fresh()
    const missing = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined as never)
    try {
      expect(() => SqliteStore.open(path)).toThrow(expect.objectContaining({ code: 'VK_STORE_IO' }))
    } finally {
      missing.mockRestore()
    }
    expect(existsSync(path)).toBe(false)
  })
})

describe('FolderStore', () => {
  it('FolderStore.open() refuses a second process and takes over from a dead one', async () => {
    const path = fresh()
    const store = await FolderStore.open(path)
    await expect(FolderStore.open(path)).rejects.toMatchObject({ code: 'VK_STORE_BUSY' })
    await store.close()
    await writeFile(
      join(path, 'lock'),
      JSON.stringify({
        pid: 2 ** 22 + 5,
        host: (await import('node:os')).hostname(),
        started: '',
        token: '0'.repeat(24),
      }),
    )
    await (await FolderStore.open(path)).close()
  })

  it('every cut of the last frame loses that batch alone', async () => {
    const path = fresh()
    const store = await FolderStore.open(path)
    await store.apply([{ put: record('a'), expected: 'any' }], { ...fence, expected: 'absent' })
    const before = (await stat(join(path, 'segment-00000001.log'))).size
    await store.apply([
      { put: record('b'), expected: 'any' },
      { put: record('c'), expected: 'any' },
    ])
    await store.close()
    const bytes = await readFile(join(path, 'segment-00000001.log'))
    for (let length = before; length < bytes.length; length++) {
      await writeFile(join(path, 'segment-00000001.log'), bytes.subarray(0, length))
      const cut = await FolderStore.open(path)
      expect(await names(cut)).toEqual(['a'])
      await cut.close()
    }
    await writeFile(join(path, 'segment-00000001.log'), bytes)
    await appendFile(join(path, 'segment-00000001.log'), new Uint8Array(500)) // blocks allotted, never written
    const again = await FolderStore.open(path)
    expect(await names(again)).toEqual(['a', 'b', 'c'])
    await again.apply([{ put: record('d'), expected: 'any' }])
    await again.close()
    const last = await FolderStore.open(path)
    expect(await names(last)).toEqual(['a', 'b', 'c', 'd'])
    await last.close()
  })

  it('a flipped byte before the last frame is reported, and nothing is cut', async () => {
    const path = fresh()
    const store = await FolderStore.open(path)
    await store.apply([{ put: record('a'), expected: 'any' }], { ...fence, expected: 'absent' })
    await store.apply([{ put: record('b'), expected: 'any' }])
    await store.close()
    const file = join(path, 'segment-00000001.log')
    const bytes = await readFile(file)
    for (let at = 0; at < 60; at++) {
      await writeFile(file, new Uint8Array(bytes).with(at, (bytes[at] ?? 0) ^ 1))
      await expect(FolderStore.open(path)).rejects.toMatchObject({ code: 'VK_STORE_DAMAGED' })
      expect((await stat(file)).size).toBe(bytes.length)
    }
  })

  it.each(['fail', 'crash'] as const)(
    'at each disk call of writes and a compaction a %s leaves whole batches, and what was acknowledged',
    async (mode) => {
      let runs = 0
      for (let at = 0; ; at++) {
        const path = fresh()
        await mkdir(path)
        const fs = faultFileSystem({ plan: { at, mode, code: 'ENOSPC', lasting: true } })
        const acknowledged: string[] = []
        let store: FolderStore | undefined
        try {
          store = await FolderStore.open(path, { fs, compactMinBytes: 600, compactGarbage: 0.3 })
          await store.apply([], { ...fence, expected: 'absent' })
          for (let n = 0; n < 8; n++) {
            const outcomes = await store.apply([
              { put: record(`x${n % 2}`, 1, { envelope: new Uint8Array(200) }), expected: 'any' },
              { put: record(`n${n}`), expected: 'any' },
            ])
            if (outcomes[1] === 'done') acknowledged.push(`n${n}`)
          }
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^VK_STORE_IO$|^ENOSPC$|^PRIM_/) })
        }
        await store?.close().catch(() => undefined)
        expect(fs.openHandles).toBe(0)
        await rm(join(path, 'lock'), { force: true }) // the dead process is this one
        const again = await FolderStore.open(path)
        const found = await names(again)
        expect(found).toEqual(expect.arrayContaining(acknowledged))
        if (found.includes('n1')) expect(found).toContain('x1')
        await again.close()
        if (!fs.fired) {
          expect((await readdir(path)).filter((name) => name.startsWith('segment'))).not.toEqual([
            'segment-00000001.log',
          ])
          break
        }
        runs++
      }
      expect(runs).toBeGreaterThan(30)
    },
  )

  it('reads go on through compactions', async () => {
    const store = await FolderStore.open(fresh(), { compactMinBytes: 20_000, compactGarbage: 0.3 })
    await store.apply([], { ...fence, expected: 'absent' })
    let stop = false
    let reads = 0
    const reader = (async () => {
      while (!stop) {
        const page = await store.scan({ limit: 50 })
        for (const row of page) expect(row.envelope.every((byte) => byte === row.envelope[0])).toBe(true)
        reads += page.length
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let n = 0; n < 400 || reads <= 100; n++) {
      await store.apply(
        [0, 1, 2].map((k) => ({
          put: record(`n${(n * 3 + k) % 40}`, 1, { envelope: new Uint8Array(300).fill(n & 0xff) }),
          expected: 'any' as const,
        })),
      )
    }
    stop = true
    await reader
    await store.close()
  })

  it('revisions are never given twice, not even after a compaction and a restart', async () => {
    const path = fresh()
    const options = { compactMinBytes: 300, compactGarbage: 0.1 }
    const store = await FolderStore.open(path, options)
    await store.apply([], { ...fence, expected: 'absent' })
    for (let n = 0; n < 20; n++)
      await store.apply([{ put: record('a', 1, { envelope: new Uint8Array(100) }), expected: 'any' }])
    await store.apply([{ remove: record('a'), expected: 'any' }])
    await store.close()
    const again = await FolderStore.open(path, options)
    await again.apply([{ put: record('a'), expected: 'absent' }])
    expect((await again.get(record('a')))?.revision).toBe(21)
    await again.close()
  })
})

describe('SqliteStore', () => {
  it.skipIf(process.platform === 'win32')(
    'the database, its -wal and its -shm are for their owner alone from creation on, whatever the umask',
    async () => {
      const modes = async (path: string): Promise<Record<string, string>> => {
        const found: Record<string, string> = {}
        for (const name of await readdir(root))
          if (join(root, name).startsWith(path))
            found[name.slice(path.length - root.length - 1)] = ((await stat(join(root, name))).mode & 0o777).toString(8)
        return found
      }
      const umask = process.umask(0)
      try {
        const path = `${fresh()}.sqlite`
        const store = SqliteStore.open(path)
        await store.apply([{ put: record('a', 1), expected: 'any' }], { ...fence, expected: 'absent' })
        expect(await modes(path)).toEqual({ '': '600', '-shm': '600', '-wal': '600' })
        await store.close()
        // Made by an earlier version: tightened when it is opened.
        await chmod(path, 0o644)
        const again = SqliteStore.open(path)
        await again.get(record('a'))
        expect(await modes(path)).toEqual({ '': '600', '-shm': '600', '-wal': '600' })
        await again.close()
      } finally {
        process.umask(umask)
      }
    },
  )

  it('a database in a folder that does not exist is refused by code', () => {
    expect(() => SqliteStore.open(join(root, 'none', 'v.sqlite'))).toThrow(
      expect.objectContaining({ code: 'VK_STORE_IO' }),
    )
  })

  it('two connections share the fence and the revisions', async () => {
    const path = fresh()
    const one = SqliteStore.open(path)
    const two = SqliteStore.open(path)
    await one.apply([], { ...fence, expected: 'absent' })
    expect(await two.apply([{ put: record('a'), expected: 'any' }])).toEqual(['done'])
    await one.apply([], { ...fence, expected: 1, fence: { epoch: 2, activeVersion: 2 } })
    expect(await two.apply([{ put: record('a'), expected: 'any' }])).toEqual(['stale'])
    expect(await two.apply([{ put: record('a', 2), expected: 1 }])).toEqual(['done'])
    await one.close()
    await two.close()
  })

  it('a file that is not a database is refused with a code', async () => {
    const path = fresh()
    await writeFile(path, 'this is not a database, but long enough to be taken for one by its size alone'.repeat(20))
    expect(() => SqliteStore.open(path)).toThrow(expect.objectContaining({ code: 'VK_STORE_DAMAGED' }))
    await truncate(path, 0)
    await SqliteStore.open(path).close()
  })
})
