import { chmod, lstat, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Keystore, memoryStorage, nextAlias, parseNextAlias } from '../src/index.ts'
import { createKeystore, fileStorage, openKeystore } from '../src/node/index.ts'

const fast = { scryptLogN: 4 }
const secret = (byte: number, length = 32): Uint8Array => new Uint8Array(length).fill(byte)
const ed25519 = (byte: number): { kind: string; secret: Uint8Array; publicKey: Uint8Array } => ({
  kind: 'ed25519-seed',
  secret: secret(byte),
  publicKey: secret(byte + 100),
})
let folder = ''
let path = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-keystore-'))
  path = join(folder, 'keystore')
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

async function secretOf(keystore: Keystore, alias: string): Promise<number[]> {
  return keystore.withSecret(alias, (bytes) => [...bytes])
}

describe('Keystore', () => {
  it('Keystore gives back what was put, after opening the file again', async () => {
    let time = 1_700_000_000_000
    const created = await createKeystore(path, 'pass phrase', { ...fast, clock: () => time })
    await created.put('release', { ...ed25519(1), policy: { rotate_after_days: 90 }, note: 'CI' })
    await created.put('content/1', { kind: 'content-key', secret: secret(2), once: true })
    time += 1000
    await created.put('release', ed25519(3), { replace: true })
    created.close()
    const keystore = await openKeystore(path, new TextEncoder().encode('pass phrase'))
    expect(
      keystore.list().map(({ alias, kind, created, rotated, once }) => ({ alias, kind, created, rotated, once })),
    ).toEqual([
      { alias: 'content/1', kind: 'content-key', created: 1_700_000_000_000, rotated: undefined, once: true },
      { alias: 'release', kind: 'ed25519-seed', created: 1_700_000_000_000, rotated: 1_700_000_001_000, once: false },
    ])
    expect(await secretOf(keystore, 'release')).toEqual([...secret(3)])
    expect(keystore.get('release').publicKey).toEqual(secret(103))
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await stat(`${path}.previous`)).mode & 0o777).toBe(0o600)
  })

  it('fileStorage() with keepPrevious false leaves the one file, also where an earlier generation lay', async () => {
    const created = await createKeystore(path, 'p', { ...fast, keepPrevious: false })
    await created.put('a', ed25519(1))
    expect(await readdir(folder)).toEqual(['keystore'])
    await writeFile(`${path}.previous`, await readFile(path), { mode: 0o600 })
    const opened = await openKeystore(path, 'p', { keepPrevious: false })
    await opened.put('b', ed25519(2))
    expect(await readdir(folder)).toEqual(['keystore'])
    expect((await openKeystore(path, 'p')).list().map(({ alias }) => alias)).toEqual(['a', 'b'])
  })

  it('Keystore.withSecret() wipes the bytes it lent, also when the caller throws', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    await keystore.put('a', ed25519(1))
    let lent = new Uint8Array(0)
    await expect(
      keystore.withSecret('a', async (bytes) => {
        lent = bytes as Uint8Array<ArrayBuffer>
        throw new Error('mine')
      }),
    ).rejects.toThrow('mine')
    expect(lent).toEqual(new Uint8Array(32))
    keystore.close()
    await expect(keystore.withSecret('a', () => 0)).rejects.toThrow(TypeError)
  })

  it('Keystore refuses what it must, each with its code', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    await keystore.put('a', ed25519(1))
    expect(await code(createKeystore(path, 'p', fast))).toBe('KEY_EXISTS')
    expect(await code(openKeystore(path, 'q'))).toBe('KEY_PASSPHRASE')
    expect(await code(openKeystore(join(folder, 'none'), 'q'))).toBe('KEY_NOT_FOUND')
    expect(await code(keystore.put('a', ed25519(2)))).toBe('KEY_ALIAS_EXISTS')
    expect(await code(keystore.put('../a', ed25519(2)))).toBe('KEY_ALIAS')
    expect(await code(keystore.put('b', { kind: 'x', secret: new Uint8Array(0) }))).toBe('KEY_SECRET')
    expect(await code(keystore.put('b', { kind: 'X y', secret: secret(1) }))).toBe('KEY_SECRET')
    expect(await code(keystore.remove('b'))).toBe('KEY_ALIAS_UNKNOWN')
    expect(await code(keystore.withSecret('b', () => 0))).toBe('KEY_ALIAS_UNKNOWN')
    await chmod(path, 0o640)
    expect(await code(openKeystore(path, 'p'))).toBe('KEY_PERMISSION')
  })

  it('overwrite gives an alias that is there another secret, in every call; its older name replace does, too', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    const first = await keystore.put('a', ed25519(1))
    for (const allowed of [{ overwrite: true }, { replace: true }]) {
      await keystore.put('a', ed25519(2), allowed)
      await keystore.putText('a', 'three', allowed)
      await keystore.put('b', ed25519(4))
      await keystore.rename('b', 'a', allowed)
      expect(keystore.has('b')).toBe(false)
    }
    for (const refused of [{}, { overwrite: false }, { replace: false }]) {
      expect(await code(keystore.put('a', ed25519(5), refused))).toBe('KEY_ALIAS_EXISTS')
      expect(await code(keystore.putText('a', 'five', refused))).toBe('KEY_ALIAS_EXISTS')
    }
    expect(keystore.get('a').created).toBe(first.created)
  })

  it('another secret for an alias keeps the rule and the note of the one before, unless it brings its own', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    const policy = { rotate_after_days: 30 }
    await keystore.putText('token', 'one', { policy, note: 'for CI' })
    await keystore.putText('token', 'two', { overwrite: true })
    expect(keystore.get('token')).toMatchObject({ policy, note: 'for CI' })
    await keystore.putText('token', 'three', { overwrite: true, note: 'for the laptop' })
    expect(keystore.get('token')).toMatchObject({ policy, note: 'for the laptop' })
    // What brings its own dates was kept elsewhere, and is taken as it was there.
    await keystore.put('token', { ...ed25519(1), created: 1 }, { overwrite: true })
    expect(keystore.get('token')).not.toHaveProperty('policy')
    expect(keystore.get('token')).not.toHaveProperty('note')
  })

  it('a closed keystore says so', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    await keystore.put('a', ed25519(1))
    keystore.close()
    const closed = new TypeError('The keystore is closed')
    await expect(keystore.withSecret('a', () => 0)).rejects.toThrow(closed)
    await expect(keystore.readText('a')).rejects.toThrow(closed)
    await expect(keystore.put('b', ed25519(2))).rejects.toThrow(closed)
    await expect(keystore.rotateMaster()).rejects.toThrow(closed)
    await expect(keystore.changePassphrase('q')).rejects.toThrow(closed)
  })

  it('an alias marked once never names another secret, even after removal (row 15)', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    const key = { kind: 'content-key', once: true }
    await keystore.put('content/1', { ...key, secret: secret(1) })
    expect(await code(keystore.put('content/1', { ...key, secret: secret(2) }, { replace: true }))).toBe(
      'KEY_ID_REUSED',
    )
    await keystore.remove('content/1')
    expect(await code(keystore.put('content/1', { ...key, secret: secret(2) }))).toBe('KEY_ID_REUSED')
    await keystore.put('other', { kind: 'token', secret: secret(9) })
    expect(await code(keystore.rename('other', 'content/1'))).toBe('KEY_ID_REUSED')
    await keystore.put('content/1', { ...key, secret: secret(1) })
  })

  it('Keystore.change() is all or nothing: a rotation of an identity is one write', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    await keystore.put('release', ed25519(1))
    await keystore.put(nextAlias('release', 1), ed25519(2))
    const { generation } = keystore
    await keystore.change((draft) => {
      draft.rename(nextAlias('release', 1), 'release', { replace: true })
      draft.put(nextAlias('release', 2), ed25519(3))
    })
    expect(keystore.generation).toBe(generation + 1)
    expect(keystore.list().map(({ alias }) => alias)).toEqual(['release', 'release--next-2'])
    expect(await secretOf(keystore, 'release')).toEqual([...secret(2)])
    await expect(
      keystore.change((draft) => {
        draft.remove('release')
        throw new Error('changed my mind')
      }),
    ).rejects.toThrow('changed my mind')
    expect(await secretOf(await openKeystore(path, 'p'), 'release')).toEqual([...secret(2)])
  })

  it('nextAlias() and parseNextAlias() are inverse', () => {
    expect(parseNextAlias(nextAlias('a--b', 12))).toEqual({ alias: 'a--b', sequence: 12 })
    expect(parseNextAlias('release')).toBeUndefined()
    expect(parseNextAlias('release--next-01')).toBeUndefined()
  })

  it("two open keystores see each other's changes and lose none", async () => {
    const one = await createKeystore(path, 'p', fast)
    const two = await openKeystore(path, 'p')
    await Promise.all(
      [...Array(10).keys()].flatMap((n) => [one.put(`one-${n}`, ed25519(1)), two.put(`two-${n}`, ed25519(2))]),
    )
    expect((await openKeystore(path, 'p')).list()).toHaveLength(20)
  })
})

describe('a keystore behind a symbolic link', () => {
  it('fileStorage() keeps the keystore, what came before it and its lock where the link leads', async () => {
    const link = join(folder, 'link')
    const stick = join(folder, 'stick')
    await symlink('stick/real', link)
    expect(await code(createKeystore(link, 'pass phrase', fast))).toBe('KEY_IO') // the disk is not mounted
    expect(await readdir(folder)).toEqual(['link'])
    await mkdir(stick)
    const created = await createKeystore(join(stick, 'real'), 'pass phrase', fast)
    created.close()
    const keystore = await openKeystore(link, 'pass phrase')
    await keystore.put('release', ed25519(1))
    await keystore.put('release', ed25519(2), { replace: true })
    keystore.close()
    expect((await lstat(link)).isSymbolicLink()).toBe(true)
    expect((await readdir(folder)).sort()).toEqual(['link', 'stick'])
    expect((await readdir(stick)).sort()).toEqual(['real', 'real.previous'])
    expect(await secretOf(await openKeystore(join(stick, 'real'), 'pass phrase'), 'release')).toEqual([...secret(2)])
  })

  it('fileStorage() excludes writers who come by the link and by the file itself', async () => {
    await symlink('keystore', join(folder, 'link'))
    const unlock = await fileStorage(path).lock()
    await writeFile(path, '', { mode: 0o600 })
    expect(await code(fileStorage(join(folder, 'link'), { lockWaitMs: 0 }).lock())).toBe('KEY_LOCKED')
    await unlock()
  })
})

describe('the master of a keystore', () => {
  it('Keystore.rotateMaster() seals everything again; the old master is in neither generation', async () => {
    const keystore = await createKeystore(path, 'p', fast)
    await keystore.put('a', ed25519(1))
    const [before] = keystore.masters()
    const master = await keystore.rotateMaster()
    expect(master).toMatchObject({ version: 2, state: 'active' })
    expect(master.fingerprint).not.toBe(before?.fingerprint)
    expect(await readFile(path)).toEqual(await readFile(`${path}.previous`))
    for (let turn = 0; turn < 3; turn++) await keystore.rotateMaster()
    const again = await openKeystore(path, 'p')
    expect(again.masters().map(({ state }) => state)).toEqual([
      'destroyed',
      'destroyed',
      'destroyed',
      'destroyed',
      'active',
    ])
    expect(await secretOf(again, 'a')).toEqual([...secret(1)])
  })

  it('Keystore.changePassphrase() shuts the old passphrase out of both generations', async () => {
    const keystore = await createKeystore(path, 'old', fast)
    const other = await openKeystore(path, 'old')
    await keystore.put('a', ed25519(1))
    await keystore.changePassphrase('new')
    expect(await code(openKeystore(path, 'old'))).toBe('KEY_PASSPHRASE')
    expect(await code(Keystore.open(memoryStorage({ current: await readFile(`${path}.previous`) }), 'old'))).toBe(
      'KEY_PASSPHRASE',
    )
    expect(await secretOf(await openKeystore(path, 'new'), 'a')).toEqual([...secret(1)])
    expect(await code(other.put('b', ed25519(2)))).toBe('KEY_CHANGED')
  })
})

describe('a damaged keystore', () => {
  async function twoGenerations(): Promise<Uint8Array> {
    const keystore = await createKeystore(path, 'p', fast)
    await keystore.put('a', ed25519(1))
    await keystore.put('b', ed25519(2))
    return new Uint8Array(await readFile(path))
  }

  it('every cut and every flipped byte opens the generation before, and says so', async () => {
    const bytes = await twoGenerations()
    const previous = new Uint8Array(await readFile(`${path}.previous`))
    const outcomes = new Map<string, number>()
    for (let at = 0; at < bytes.length; at += 3) {
      for (const damaged of [bytes.slice(0, at), bytes.with(at, (bytes[at] ?? 0) ^ 0x10)]) {
        const outcome = await Keystore.open(memoryStorage({ current: damaged, previous }), 'p').then(
          (keystore) => `${keystore.recovery === undefined ? 'whole' : 'recovered'}, ${keystore.list().length} secret`,
          (error: unknown) => String((error as { code?: string }).code),
        )
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      }
    }
    // A change of salt, cost or check value cannot be told from a wrong passphrase.
    expect([...outcomes.keys()].toSorted()).toEqual(['KEY_PASSPHRASE', 'recovered, 1 secret'])
    expect(outcomes.get('KEY_PASSPHRASE')).toBeLessThan(60)
  })

  it('a lost file is recovered from the generation before and put right by the next change', async () => {
    await twoGenerations()
    await rm(path)
    const keystore = await openKeystore(path, 'p')
    expect(keystore.recovery?.reason).toBe('the file is missing')
    expect(keystore.list().map(({ alias }) => alias)).toEqual(['a'])
    await keystore.repair()
    expect(keystore.recovery).toBeUndefined()
    expect((await openKeystore(path, 'p')).recovery).toBeUndefined()
  })

  it('two damaged generations are reported', async () => {
    const bytes = await twoGenerations()
    const cut = bytes.slice(0, -5)
    expect(await code(Keystore.open(memoryStorage({ current: cut, previous: cut }), 'p'))).toBe('KEY_DAMAGED')
    expect(
      await code(Keystore.open(memoryStorage({ current: new TextEncoder().encode('not a keystore at all') }), 'p')),
    ).toBe('KEY_FORMAT')
  })

  it.each(['fail', 'crash'] as const)(
    'at each disk call of a change a %s leaves the old or the new keystore',
    async (mode) => {
      const seen = new Set<number>()
      for (let at = 0; ; at++) {
        await rm(folder, { recursive: true })
        await (await import('node:fs/promises')).mkdir(folder)
        await twoGenerations()
        const fs = faultFileSystem({ plan: { at, mode, code: 'ENOSPC' } })
        const keystore = await Keystore.open(fileStorage(path, { fs }), 'p')
        const outcome = await code(keystore.put('c', ed25519(3)))
        expect(fs.openHandles).toBe(0)
        const now = await openKeystore(path, 'p')
        expect(now.recovery).toBeUndefined()
        seen.add(now.list().length)
        if (!fs.fired) break
        if (outcome !== 'no error') expect(outcome).toMatch(/^KEY_IO$|^ENOSPC$/)
        expect(now.list().length).toBeGreaterThanOrEqual(2)
      }
      expect([...seen].toSorted()).toEqual([2, 3])
      expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([])
    },
  )
})
