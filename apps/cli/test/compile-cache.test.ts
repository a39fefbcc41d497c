import { spawnSync } from 'node:child_process'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { privateCacheFolder } from '../src/compile-cache.ts'

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const COMPILE_CACHE = new URL('../src/compile-cache.ts', import.meta.url).href

let folder = ''
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'keyturn-cache-')))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

function run(file: string, args: readonly string[] = []): string {
  const env = {
    PATH: process.env['PATH'],
    HOME: join(folder, 'home'),
    TMPDIR: join(folder, 'tmp'),
    NODE_NO_WARNINGS: '1',
  }
  const { stdout, stderr, status } = spawnSync(process.execPath, [file, ...args], { env, encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
  return stdout
}

describe.skipIf(process.platform === 'win32')('the compile cache of keyturn', () => {
  it('keyturn runs nothing that another user has put into the shared temporary folder', async () => {
    await mkdir(join(folder, 'home'))
    await mkdir(join(folder, 'tmp'))
    const real = `console.log('the real module')\n`
    const evil = `console.log('somebody else')\n`.padEnd(real.length)
    const module = join(folder, 'module.mjs')
    const careless = join(folder, 'careless.mjs')
    const ours = join(folder, 'ours.mjs')
    await writeFile(
      careless,
      `import { enableCompileCache } from 'node:module'\nenableCompileCache()\nawait import('./module.mjs')\n`,
    )
    await writeFile(
      ours,
      `import { usePrivateCompileCache } from '${COMPILE_CACHE}'\nusePrivateCompileCache()\nawait ` +
        `import('./module.mjs')\n`,
    )

    await writeFile(module, evil)
    expect(run(careless)).toBe(evil.includes('else') ? 'somebody else\n' : '')
    await writeFile(module, real)
    await poison(join(folder, 'tmp'), evil, real)

    expect(run(careless)).toBe('somebody else\n') // the poison works where the cache is in the shared folder
    expect(run(ours)).toBe('the real module\n')
    expect(run(ours)).toBe('the real module\n')
  })

  /**
   * Gives each entry that was compiled from one text the checksum of another, as somebody would who can write there.
   */
  async function poison(root: string, from: string, to: string): Promise<void> {
    const wanted = Buffer.alloc(4)
    wanted.writeUInt32LE(crc32(from))
    let poisoned = 0
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const path = join(entry.parentPath, entry.name)
      const bytes = await readFile(path)
      const at = bytes.subarray(0, 32).indexOf(wanted)
      if (at < 0) continue
      bytes.writeUInt32LE(crc32(to), at)
      await writeFile(path, bytes)
      poisoned++
    }
    expect(poisoned).toBe(1)
  }

  it('keyturn keeps its cache in a folder of the user that is closed to all others', async () => {
    await mkdir(join(folder, 'home'))
    await mkdir(join(folder, 'tmp'))
    expect(run(MAIN, ['--help'])).toMatch(/^Usage: keyturn/)
    expect(await readdir(join(folder, 'tmp'))).toEqual([])
    const cache = join(folder, 'home', process.platform === 'darwin' ? 'Library/Caches' : '.cache', 'keyturn/compiled')
    expect((await lstat(cache)).mode & 0o777).toBe(0o700)
    expect(await readdir(cache)).toHaveLength(1)
  })

  it('privateCacheFolder() gives none that others can write to, at any place on the way', async () => {
    const cache = join(folder, 'cache')
    await mkdir(cache, { mode: 0o755 })
    const env = { XDG_CACHE_HOME: cache }
    expect(privateCacheFolder(env)).toBe(join(cache, 'keyturn/compiled'))
    for (const [place, mode] of [
      [join(cache, 'keyturn/compiled'), 0o770],
      [join(cache, 'keyturn/compiled'), 0o755],
      [join(cache, 'keyturn'), 0o777],
      [cache, 0o775],
      [folder, 0o757],
    ] as const) {
      const before = (await lstat(place)).mode & 0o7777
      await chmod(place, mode)
      expect(privateCacheFolder(env), `${place} with ${mode.toString(8)}`).toBeUndefined()
      await chmod(place, before)
      expect(privateCacheFolder(env)).toBe(join(cache, 'keyturn/compiled'))
    }
  })

  it('privateCacheFolder() resolves links and checks where they lead', async () => {
    await mkdir(join(folder, 'real'))
    await symlink('real', join(folder, 'link'))
    expect(privateCacheFolder({ XDG_CACHE_HOME: join(folder, 'link') })).toBe(join(folder, 'real/keyturn/compiled'))
    await chmod(join(folder, 'real'), 0o777)
    expect(privateCacheFolder({ XDG_CACHE_HOME: join(folder, 'link') })).toBeUndefined()
  })

  it('privateCacheFolder() takes no relative folder and needs none', () => {
    expect(privateCacheFolder({ XDG_CACHE_HOME: 'cache' })).toBeUndefined()
    expect(privateCacheFolder({ XDG_CACHE_HOME: '/dev/null/x' })).toBeUndefined()
  })

  it.runIf(process.geteuid?.() === 0)('privateCacheFolder() gives none below the folder of another user', async () => {
    const home = join(folder, 'home')
    await mkdir(home)
    await chown(home, 65534, 65534)
    expect(privateCacheFolder({ XDG_CACHE_HOME: home })).toBeUndefined()
  })
})
