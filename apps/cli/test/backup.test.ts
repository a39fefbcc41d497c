import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStream, sealStream } from '@keyturn/publisher/backup'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

const passphrase = new TextEncoder().encode('p')

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const seal = (bytes: Uint8Array, size = 65_536): Promise<Buffer> =>
  collect(sealStream(passphrase, pieces(bytes, size), { scryptLogN: 1 }))
const open = (bytes: Uint8Array, size = 65_536): Promise<Buffer> => collect(openStream(passphrase, pieces(bytes, size)))

describe('sealStream() and openStream()', () => {
  it('give back what was sealed, whatever the pieces', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(3_000_000),
        fc.integer({ min: 1000, max: 2_000_000 }),
        fc.integer({ min: 1000, max: 2_000_000 }),
        async (length, write, read) => {
          const bytes = Buffer.alloc(length, 'abc')
          expect((await open(await seal(bytes, write), read)).equals(bytes)).toBe(true)
        },
      ),
      { numRuns: 20 },
    )
  })

  it('refuse every cut, every flipped bit and what is appended', async () => {
    const sealed = await seal(Buffer.alloc(1_048_576 + 300, 'x'))
    const refused = async (bytes: Uint8Array): Promise<void> => {
      await expect(open(bytes)).rejects.toMatchObject({ code: 'CLI_BACKUP' })
    }
    for (const length of [0, 7, 59, 60, 61, 1000, 60 + 1_048_576 + 16, sealed.length - 1])
      await refused(sealed.subarray(0, length))
    for (const at of [0, 8, 12, 44, 60, 500_000, sealed.length - 1]) {
      const changed = Buffer.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ 1
      await refused(changed)
    }
    await refused(Buffer.concat([sealed, Buffer.from([0])]))
  })
})

describe('keyturn backup and restore', () => {
  let world: World
  beforeEach(async () => {
    world = await World.create()
  })
  afterEach(async () => {
    await world.remove()
  })
  const run = (...args: string[]): Promise<Outcome> =>
    keyturn([...args, '--passphrase-file', world.path('passphrase'), '--json'], { cwd: world.folder })

  it('refuse to seal under a passphrase that was not given for the backup and does not open the home', async () => {
    await writeFile(world.path('mistyped'), 'tset\n', { mode: 0o600 })
    const env = { KEYTURN_HOME: world.path('home'), KEYTURN_PASSPHRASE_FILE: world.path('mistyped') }
    const outcome = await keyturn(['backup', world.path('b'), '--json'], { env })
    expect([codeOf(outcome), outcome.code]).toEqual(['KEY_PASSPHRASE', 4])
    expect(await readdir(world.folder)).not.toContain('b')
    dataOf(
      await keyturn(['backup', world.path('b'), '--json', '--backup-passphrase-file', world.path('mistyped')], { env }),
    )
  })

  it('bring a home back, byte for byte', async () => {
    await world.release()
    await mkdir(world.path('home', 'server'), { recursive: true })
    await writeFile(world.path('home', 'server', 'large'), 'left out')
    const made = dataOf(await run('backup', 'b', '--home', 'home'))
    expect(made).toMatchObject({ read_back: true })
    expect(dataOf(await run('restore', 'b', '--home', 'again'))['files']).toBe(made['files'])
    const restored = await readdir(world.path('again'), { recursive: true, withFileTypes: true })
    // The mark says that it may be older than what was published since.
    expect(restored.map(({ name }) => name)).toContain('restored.json')
    for (const name of restored.filter((entry) => entry.isFile() && entry.name !== 'restored.json')) {
      const path = `${name.parentPath}/${name.name}`
      expect((await readFile(path)).equals(await readFile(path.replace('/again', '/home')))).toBe(true)
    }
    expect((await run('doctor', '--home', 'again', '--offline')).code).toBe(0)
    expect(await readdir(world.path('again'))).not.toContain('server')
  })

  it('need enough shares of a backup that was made under shares, and no passphrase', async () => {
    expect(codeOf(await run('backup', 'b', '--home', 'home', '--threshold', '2', '--count', '3'))).toBe('CLI_USAGE')
    const made = dataOf(await run('backup', 'b', '--home', 'home', '--shares', 's', '--threshold', '2', '--count', '3'))
    expect(made).toMatchObject({ read_back: true, threshold: 2, shares: 3 })
    const share = (number: number): string => `s/share-${number}-of-3.txt`
    expect(codeOf(await run('restore', 'b', '--home', 'again'))).toBe('CLI_BACKUP')
    expect(codeOf(await run('restore', 'b', '--home', 'again', '--share-file', share(1)))).toBe('VK_SHARES_MISSING')
    const restored = dataOf(await run('restore', 'b', '--home', 'again', '--share-file', share(3), share(1)))
    expect(restored).toMatchObject({ files: made['files'], restored: true })
    expect(
      codeOf(await run('backup', 'b', '--home', 'home', '--shares', 't', '--threshold', '2', '--count', '3')),
    ).toBe('CLI_EXISTS')
    expect(await readdir(world.folder)).not.toContain('t')
  })

  it('replace nothing: a home that is there, a file that is there', async () => {
    expect((await run('backup', 'b', '--home', 'home')).code).toBe(0)
    expect(codeOf(await run('backup', 'b', '--home', 'home'))).toBe('CLI_EXISTS')
    expect(codeOf(await run('restore', 'b', '--home', 'home'))).toBe('CLI_HOME_EXISTS')
    await cp(world.path('b'), world.path('cut'))
    await writeFile(world.path('cut'), (await readFile(world.path('b'))).subarray(0, 2000))
    expect(codeOf(await run('restore', 'cut', '--home', 'other'))).toBe('CLI_BACKUP')
    await expect(readdir(world.path('other'))).rejects.toMatchObject({ code: 'ENOENT' })
    await rm(world.path('b'))
    expect((await run('restore', 'b', '--home', 'other')).code).toBe(2)
  })
})
