import { appendFile, link, mkdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import { engineFor, expectedText, installedTree, offline, treeText, temporaryFolder } from './support/install.ts'
import { contentKey, DAY, keyId, noise, NOW, Publisher, seedOf, sha256Hex, signerOf } from './support/publisher.ts'
import { ed25519Sign } from '@keyturn/primitives'

const first = { 'a.txt': 'one', 'pack/a.bin': noise(900_000, 3), 'old.txt': 'old' }
const second = { 'a.txt': 'two', 'pack/a.bin': noise(900_000, 5) }

async function installed() {
  const publisher = await Publisher.create()
  const old = await publisher.release(first)
  const test = await engineFor(publisher)
  await test.engine.update()
  const made = await publisher.release(second)
  return {
    publisher,
    old,
    made,
    ...test,
    from: expectedText(old.files, sha256Hex),
    to: expectedText(made.files, sha256Hex),
  }
}

describe('two volumes', () => {
  it('an .updates elsewhere is copied from, and crash-safe all the same (row 213)', async () => {
    const { publisher, folder, to, from } = await installed()
    const across: FileSystem = {
      ...nodeFileSystem,
      rename: async (a, b) => {
        const inside = (path: unknown): boolean => String(path).includes('/.updates/')
        if (inside(a) !== inside(b)) throw Object.assign(new Error('EXDEV'), { code: 'EXDEV' })
        await nodeFileSystem.rename(a, b)
      },
    }
    const { engine } = await engineFor(publisher, { folder, fs: across })
    await engine.update()
    expect(await treeText(folder)).toBe(to)
    await engine.rollback()
    expect(await treeText(folder)).toBe(from)
  })
})

describe('staged files', () => {
  it('that change after they were verified are never installed (row 201)', async () => {
    const { publisher, folder, from, to } = await installed()
    let wins = 0
    for (let round = 0; round < 40; round++) {
      const racing: FileSystem = {
        ...nodeFileSystem,
        rename: async (a, b) => {
          const target = String(b)
          if (target.endsWith('txn.json') && round % 2 === 0)
            await appendFile(join(folder, '.updates/staging', sha256Hex(second['pack/a.bin'])), 'x')
          await nodeFileSystem.rename(a, b)
          if (String(a).includes('/staging/') && target.endsWith('/pack/a.bin') && round % 2 === 1)
            await appendFile(target, 'x')
        },
      }
      const { engine } = await engineFor(publisher, { folder, fs: racing })
      await expect(engine.update()).rejects.toMatchObject({ code: 'LA_STAGE_TAMPERED', kind: 'auth' })
      if ((await treeText(folder)) !== from) wins += 1
    }
    expect(wins).toBe(0)
    const { engine } = await engineFor(publisher, { folder })
    await engine.update()
    expect(await treeText(folder)).toBe(to)
  })

  it('that are rewritten in place after the download, with size and time as before, are fetched again, never installed', async () => {
    const { publisher, folder, to } = await installed()
    const place = join(folder, '.updates/staging', sha256Hex(second['pack/a.bin']))
    await mkdir(join(folder, '.updates/staging'), { recursive: true })
    await writeFile(place, second['pack/a.bin'])
    await utimes(place, 1_790_000_000, 1_790_000_000)
    let rewritten = 0
    const racing: FileSystem = {
      ...nodeFileSystem,
      open: async (...args) => {
        const handle = await nodeFileSystem.open(...args)
        if (String(args[0]) !== place || rewritten > 0) return handle
        const close = handle.close.bind(handle)
        handle.close = async () => {
          // its hash was taken just now
          await close()
          rewritten += 1
          await writeFile(place, noise(900_000, 77), { flag: 'r+' })
          await utimes(place, 1_790_000_000, 1_790_000_000)
        }
        return handle
      },
    }
    const { engine, served } = await engineFor(publisher, { folder, fs: racing })
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    expect(rewritten).toBe(1)
    expect(served.some(({ path }) => path.endsWith(sha256Hex(second['pack/a.bin'])))).toBe(true)
    expect(await treeText(folder)).toBe(to)
  })

  it.each([
    [
      'once they have their final name',
      (name: string, to: string, staged: string) => name === 'rename' && to === staged,
    ],
    ['just before the decision', (name: string, to: string) => name === 'mkdir' && to.includes('/backup/')],
    ['between the decision and the swap', (name: string, to: string) => name === 'rename' && to.endsWith('/txn.json')],
  ])('rewritten %s, the times set back, are never installed (row 201)', async (_, isMoment) => {
    const { publisher, folder, from } = await installed()
    const place = join(folder, '.updates/staging', sha256Hex(second['pack/a.bin']))
    let rewritten = 0
    const rewrite = async (name: string, target: string): Promise<void> => {
      if (rewritten > 0 || !isMoment(name, target, place)) return
      rewritten += 1
      const { mtimeNs } = await stat(place, { bigint: true })
      await sleep(20) // a tick of the clock that stamps files
      await writeFile(place, noise(900_000, 77), { flag: 'r+' })
      execFileSync('touch', [
        '-m',
        '-d',
        `@${mtimeNs / 1_000_000_000n}.${String(mtimeNs % 1_000_000_000n).padStart(9, '0')}`,
        place,
      ])
      expect((await stat(place, { bigint: true })).mtimeNs).toBe(mtimeNs)
    }
    const racing: FileSystem = {
      ...nodeFileSystem,
      rename: async (a, b) => {
        await nodeFileSystem.rename(a, b)
        await rewrite('rename', String(b))
      },
      mkdir: (async (path: string, options: object) => {
        const made = await nodeFileSystem.mkdir(path, options)
        await rewrite('mkdir', path)
        return made
      }) as FileSystem['mkdir'],
    }
    const { engine } = await engineFor(publisher, { folder, fs: racing })
    const result = await engine.update().then(
      ({ outcome }) => outcome,
      (error: { code: string }) => error.code,
    )
    expect(rewritten).toBe(1)
    // Found while it is staged, it is fetched again; found later, the update is undone.
    if (result === 'updated') expect(await treeText(folder)).not.toBe(from)
    else expect([result, await treeText(folder)]).toEqual(['LA_STAGE_TAMPERED', from])
    expect(await readFile(join(folder, 'pack/a.bin')).then(sha256Hex)).not.toBe(sha256Hex(noise(900_000, 77)))
  })

  it('left by others are not trusted: wrong bytes, hard links, folders (row 204)', async () => {
    const { publisher, folder, to } = await installed()
    const staging = join(folder, '.updates/staging')
    const outside = `${folder}.outside`
    await writeFile(outside, 'mine')
    await link(outside, join(staging, sha256Hex(new TextEncoder().encode('two'))))
    await mkdir(join(staging, sha256Hex(second['pack/a.bin'])))
    await link(outside, join(staging, `${sha256Hex(second['pack/a.bin'])}.part`))
    const { engine } = await engineFor(publisher, { folder })
    await engine.update()
    expect(await treeText(folder)).toBe(to)
    expect(await readFile(outside, 'utf8')).toBe('mine')
    await rm(outside)
  })
})

describe('what is stored', () => {
  it('a damaged journal sets everything under suspicion, and nothing unverified starts (row 220)', async () => {
    const { publisher, folder, engine, from } = await installed()
    await engine.rollback().catch(() => undefined)
    for (const text of ['', '{', '{"schema":2}', '{"schema":1,"sha256":"00","body":{}}\n']) {
      await writeFile(join(folder, '.updates/txn.json'), text)
      const { engine: after, events } = await engineFor(publisher, { folder, fetch: offline })
      await expect(after.update()).rejects.toMatchObject({ code: 'LA_NETWORK' })
      expect(events.some((event) => event.type === 'notice' && event.code === 'LA_JOURNAL')).toBe(true)
      expect(existsSync(join(folder, '.updates/txn.json'))).toBe(false)
      expect(await treeText(folder)).toBe(from)
    }
  })

  it('a journal that names another place than staging and backup moves nothing there (row 220)', async () => {
    const { publisher, folder, engine, from } = await installed()
    await engine.status()
    const outside = await temporaryFolder()
    await writeFile(join(folder, 'payload'), 'evil')
    const { installed: to } = JSON.parse(await readFile(join(folder, '.updates/state.json'), 'utf8')) as {
      installed: object
    }
    const up = '../'.repeat(folder.split('/').length) + outside.slice(1)
    for (const step of [
      { path: 'payload', existed: false, sha256: sha256Hex(Buffer.from('evil')), staged: `${up}/autostart` },
      { path: 'payload', existed: false, sha256: sha256Hex(Buffer.from('evil')), staged: 'trust/trust.json' },
      {
        path: `${up}/autostart`,
        existed: false,
        sha256: sha256Hex(Buffer.from('x')),
        staged: `staging/${sha256Hex(Buffer.from('x'))}`,
      },
    ]) {
      const none = {
        path: 'none',
        existed: false,
        sha256: sha256Hex(Buffer.from('y')),
        staged: `staging/${sha256Hex(Buffer.from('y'))}`,
      }
      const body = JSON.stringify({ id: 'ab'.repeat(8), kind: 'update', to, steps: [step, none] })
      await writeFile(
        join(folder, '.updates/txn.json'),
        `{"schema":1,"sha256":"${sha256Hex(Buffer.from(body))}","body":${body}}\n`,
      )
      const { engine: after, events } = await engineFor(publisher, { folder, fetch: offline })
      await expect(after.update()).rejects.toMatchObject({ code: 'LA_NETWORK' })
      expect(events.some((event) => event.type === 'notice' && event.code === 'LA_JOURNAL')).toBe(true)
      expect(await treeText(outside)).toBe('')
    }
    await rm(join(folder, 'payload'))
    expect(await treeText(folder)).toBe(from)
  })

  it('a lowered, cut or deleted trust.json gains nothing (row 221)', async () => {
    const { publisher, folder, engine, to } = await installed()
    const oldHead = publisher.tree.get('channels/stable/head.json') as Uint8Array
    await engine.update()
    await publisher.release({ ...second, 'b.txt': 'three' })
    await engine.update()
    const trust = join(folder, '.updates/trust/trust.json')
    const lowered = (await readFile(trust, 'utf8'))
      .replace(/"head_sequence": \d+/, '"head_sequence": 1')
      .replace(/"manifest_sequence": \d+/, '"manifest_sequence": 1')
    publisher.tree.set('channels/stable/head.json', oldHead)
    for (const attack of [
      () => writeFile(trust, lowered),
      () => truncate(trust, 0),
      () => rm(trust),
      async () => {
        await truncate(trust, 0)
        await truncate(`${trust}.prev`, 0)
      },
    ]) {
      await attack()
      const { engine: after } = await engineFor(publisher, { folder })
      await expect(after.update()).rejects.toMatchObject({ code: 'MAN_ROLLBACK' })
      expect((await installedTree(folder)).has('b.txt')).toBe(true)
    }
    expect(to).not.toBe('')
  })

  it('without any trust document left nothing is installed, and play goes on being refused rather than guessed', async () => {
    const { publisher, folder } = await installed()
    for (const name of ['log.cesr', 'head.json', 'roles/1.json']) await rm(join(folder, '.updates/trust', name))
    await truncate(join(folder, '.updates/trust/trust.json'), 0)
    await writeFile(join(folder, '.updates/trust/trust.json.prev'), 'x')
    const { engine } = await engineFor(publisher, { folder })
    await expect(engine.update()).rejects.toMatchObject({ code: 'TRUST_LOST' })
  })

  it('losing all of .updates costs a read and no download', async () => {
    const { publisher, folder, engine, to } = await installed()
    await engine.update()
    await rm(join(folder, '.updates'), { recursive: true })
    const { engine: after, served } = await engineFor(publisher, { folder })
    expect(await after.update()).toMatchObject({ outcome: 'updated', writtenFiles: 0, downloadedBytes: 0 })
    expect(served.some(({ path }) => path.startsWith('files/'))).toBe(false)
    expect(await treeText(folder)).toBe(to)
  })

  it('a file whose time was set back is still found changed by repair', async () => {
    const { folder, engine, from } = await installed()
    await engine.rollback().catch(() => undefined)
    const file = join(folder, 'old.txt')
    await writeFile(file, 'bad')
    await utimes(file, new Date(NOW), new Date(NOW))
    await engine.repair()
    expect(await treeText(folder)).toBe(from)
  })
})

describe('fetchLauncher()', () => {
  it('brings the signed launcher, and nothing else under its name', async () => {
    const publisher = await Publisher.create()
    const launcher = noise(400_000, 12)
    const sha256 = sha256Hex(launcher)
    publisher.tree.set(`files/${sha256.slice(0, 2)}/${sha256}`, launcher)
    const { engine, folder } = await engineFor(publisher)
    await publisher.release(first)
    expect(await engine.fetchLauncher(join(folder, 'new.exe'))).toBe(false)
    await publisher.release(first, { build: { launcher: { path: 'launcher.exe', sha256, size: launcher.length } } })
    expect(await engine.fetchLauncher(join(folder, 'new.exe'))).toBe(true)
    expect(sha256Hex(new Uint8Array(await readFile(join(folder, 'new.exe'))))).toBe(sha256)
    publisher.tree.set(`files/${sha256.slice(0, 2)}/${sha256}`, noise(400_000, 15))
    await expect(engine.fetchLauncher(join(folder, 'bad.exe'))).rejects.toMatchObject({ code: 'LA_HASH' })
    expect(existsSync(join(folder, 'bad.exe'))).toBe(false)
  })
})

describe('clocks', () => {
  it('a year ahead or behind neither installs an expired head nor locks the install out', async () => {
    const { publisher, folder, to } = await installed()
    const ahead = await engineFor(publisher, { folder, clock: () => NOW + 370 * DAY })
    await expect(ahead.engine.update()).rejects.toMatchObject({ code: expect.stringMatching(/_EXPIRED$/) as string })
    const behind = await engineFor(publisher, { folder, clock: () => NOW - 365 * DAY })
    await behind.engine.update()
    expect(await treeText(folder)).toBe(to)
  })
})

describe('stolen keys', () => {
  it('a head key alone installs nothing the release key did not sign; a release key alone nothing that no head pins', async () => {
    const { publisher, folder, engine, from } = await installed()
    await publisher.release({ 'evil.txt': 'x' }, { signers: ['thief'] })
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    await publisher.release({ 'evil.txt': 'x' }, { headSigners: ['thief'] })
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    expect(await treeText(folder)).toBe(from)
  })

  it('two heads of one sequence fork: nothing new is installed, both are kept, a rotation settles it', async () => {
    const { publisher, folder, engine, made, events } = await installed()
    await engine.update()
    publisher.headSequence -= 1
    await publisher.head(made, { nowMs: NOW + 5000 })
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_EQUIVOCATION' })
    expect(await engine.status()).toMatchObject({ trust: 'forked' })
    expect(events).toContainEqual(expect.objectContaining({ type: 'notice', code: 'LA_FORKED' }))
    expect(existsSync(join(folder, '.updates/trust/evidence'))).toBe(true)
    await publisher.rotate((roles) => ({ epoch: roles.epoch + 1 }))
    publisher.manifestSequence = 0
    publisher.headSequence = 0
    await publisher.release({ ...second, 'c.txt': 'new epoch' })
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    expect(await engine.status()).toMatchObject({ trust: 'current' })
  })

  it('a revoked content key bars the release that needs it', async () => {
    const publisher = await Publisher.create()
    const key = contentKey(4)
    const files = {
      'pack/a.m2p': { bytes: new Uint8Array([1]), keyId: 4 },
      'runtime-key.json': key.json,
      'client.mjs': 'process.exit(0)',
    }
    await publisher.release(files, { format: 'm2pack', place: { contentKeys: [key.entry] } })
    const { engine } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update()
    const next = contentKey(5)
    await publisher
      .release(
        { ...files, 'pack/a.m2p': { bytes: new Uint8Array([2]), keyId: 4 } },
        { format: 'm2pack', place: { contentKeys: [{ ...key.entry, status: 'revoked' }, next.entry] } },
      )
      .catch(() => undefined)
    await publisher.release(
      { ...files, 'pack/a.m2p': { bytes: new Uint8Array([3]), keyId: 5 }, 'runtime-key.json': next.json },
      { format: 'm2pack', place: { contentKeys: [{ ...key.entry, status: 'revoked' }, next.entry] } },
    )
    const { exited } = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
    expect(await exited).toBe(0)
  })
})

describe('pinned keys of the original', () => {
  it('install by manifest.json.sig alone, never go back, and move to an identity for good', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first)
    const sign = (bytes: Uint8Array) => ed25519Sign(seedOf('legacy'), bytes)
    const serveLegacy = (bytes: Uint8Array): void => {
      publisher.tree.set('manifest.json', bytes)
      publisher.tree.set('manifest.json.sig', sign(bytes))
    }
    serveLegacy(made.bytes)
    const pinned = { tree: publisher.tree, trust: `key:${keyId('legacy')}` }
    const { engine, folder } = await engineFor(pinned)
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    expect(await engine.status()).toMatchObject({ trust: 'current' })
    const moved = await publisher.release(second, { place: { trustRoot: publisher.trust } })
    serveLegacy(moved.bytes)
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: moved.model.version })
    const evil = await publisher.release({ 'evil.txt': 'x' }, { signers: ['thief'] })
    serveLegacy(evil.bytes)
    const later = await engineFor(pinned, { folder })
    await expect(later.engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    expect((await installedTree(folder)).has('evil.txt')).toBe(false)
    expect(signerOf('legacy').publicKey.length).toBe(32)
  })
})
