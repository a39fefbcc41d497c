import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ed25519Sign } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import type { Fetch, LaunchResult } from '../src/index.ts'
import { engineFor, installedTree, offline, treeFetch } from './support/install.ts'
import { keyId, Publisher, seedOf } from './support/publisher.ts'
import type { MadeRelease } from './support/publisher.ts'

const first = { 'a.txt': 'one', 'run.sh': { bytes: new TextEncoder().encode('#!/bin/sh\nexit 0\n'), executable: true } }
const second = { ...first, 'a.txt': 'two' }

/** The original's root: `manifest.json` and its detached signature. */
function serveLegacy(publisher: Publisher, { bytes }: MadeRelease, key = 'legacy'): void {
  publisher.tree.set('manifest.json', bytes)
  publisher.tree.set('manifest.json.sig', ed25519Sign(seedOf(key), bytes))
}

function trustFile(folder: string, name = 'trust.json'): string {
  return join(folder, '.updates/trust', name)
}

async function edit(folder: string, change: (state: Record<string, unknown>) => void): Promise<void> {
  const state = JSON.parse(await readFile(trustFile(folder), 'utf8')) as Record<string, unknown>
  change(state)
  for (const copy of ['trust.json', 'trust.json.prev']) await writeFile(trustFile(folder, copy), JSON.stringify(state))
}

async function rootOf(folder: string): Promise<string> {
  return (JSON.parse(await readFile(trustFile(folder), 'utf8')) as { root: string }).root
}

/** An install that trusts pinned keys, before the move. */
async function pinnedInstall() {
  const publisher = await Publisher.create()
  const made = await publisher.release(first)
  serveLegacy(publisher, made)
  const pinned = { tree: publisher.tree, trust: `key:${keyId('legacy')}` }
  const { engine, folder } = await engineFor(pinned, { program: ['run.sh'], target: 'linux' })
  await engine.update()
  const again = (options: Parameters<typeof engineFor>[1] = {}) =>
    engineFor(pinned, { folder, program: ['run.sh'], target: 'linux', ...options })
  const move = async (): Promise<MadeRelease> => {
    const moved = await publisher.release(second, { place: { trustRoot: publisher.trust } })
    serveLegacy(publisher, moved)
    await (await again()).engine.update()
    return moved
  }
  return { publisher, made, folder, again, move }
}

/** How the client ended, once the launcher has written that down. */
async function ending(launch: Promise<LaunchResult>): Promise<number | null> {
  const { exited, confirmed } = await launch
  await confirmed
  return await exited
}

const quiet = { stdio: ['ignore', 'ignore', 'ignore'] as const }

describe('an install that trusts pinned keys', () => {
  it('moves to the identity on the word of one signed manifest, which is kept as the proof', async () => {
    const { publisher, folder, again, move } = await pinnedInstall()
    expect(await rootOf(folder)).toMatch(/^key:/)
    const moved = await move()
    expect(await rootOf(folder)).toBe(publisher.trust)
    expect(new Uint8Array(await readFile(trustFile(folder, 'bridge.json')))).toEqual(moved.bytes)
    // Before the identity was ever asked, the old key vouches for this release alone.
    const away = await again({ fetch: offline })
    expect(await ending(away.engine.launch(quiet))).toBe(0)
    expect(await (await again()).engine.update()).toMatchObject({ outcome: 'up-to-date' })
    expect(await (await again()).engine.status()).toMatchObject({ trust: 'current', rolesVersion: 1 })
    serveLegacy(
      publisher,
      await publisher.release({ 'evil.txt': 'x' }, { signers: ['thief'], place: { trustRoot: publisher.trust } }),
    )
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    expect((await installedTree(folder)).has('evil.txt')).toBe(false)
  })

  it('is not moved by an edited trust.json: another root and its old keys count for nothing', async () => {
    const { publisher, folder, again } = await pinnedInstall()
    await publisher.release({ 'evil.txt': 'x' }) // of an identity that no pinned key ever named
    await edit(folder, (state) =>
      Object.assign(state, { root: publisher.trust, moved_from: `key:${keyId('thief')}`, channels: {} }),
    )
    // Nothing tells it from an install that moved and lost its proof, so neither the identity nor the keys count.
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'TRUST_LOST' })
    expect((await installedTree(folder)).has('evil.txt')).toBe(false)
    expect(await ending((await again({ fetch: offline })).engine.launch(quiet))).toBe(0)
  })

  it('is not moved by a kept manifest that no pinned key signed, or that leads elsewhere', async () => {
    const { publisher, folder, again } = await pinnedInstall()
    const thief = await publisher.release(second, { place: { trustRoot: publisher.trust } })
    const plain = await publisher.release(second)
    for (const [bytes, signer] of [
      [thief.bytes, 'thief'],
      [plain.bytes, 'legacy'],
    ] as const) {
      await writeFile(trustFile(folder, 'bridge.json'), bytes)
      await writeFile(trustFile(folder, 'bridge.json.sig'), ed25519Sign(seedOf(signer), bytes))
      await edit(folder, (state) => Object.assign(state, { root: publisher.trust }))
      await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'TRUST_LOST' })
      await edit(folder, (state) => Object.assign(state, { root: `key:${keyId('legacy')}` }))
      await (await again()).engine.update()
      expect(await rootOf(folder)).toMatch(/^key:/)
    }
  })

  it('brings no old key back when the kept manifest is lost', async () => {
    const { publisher, folder, again, move } = await pinnedInstall()
    await move()
    for (const name of ['bridge.json', 'bridge.json.sig']) await writeFile(trustFile(folder, name), '')
    expect(await (await again()).engine.update()).toMatchObject({ outcome: 'up-to-date' }) // proven by the release it came with
    expect(await rootOf(folder)).toBe(publisher.trust)
    serveLegacy(publisher, await publisher.release({ 'evil.txt': 'x' }, { signers: ['thief'] }))
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    await rm(trustFile(folder, 'manifests'), { recursive: true })
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'TRUST_LOST' })
    for (const name of ['trust.json', 'trust.json.prev']) await rm(trustFile(folder, name), { force: true })
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'TRUST_LOST' }) // the log is still there
    expect((await installedTree(folder)).has('evil.txt')).toBe(false)
  })

  it('does not move back, whatever happens to trust.json', async () => {
    const { publisher, made, folder, again, move } = await pinnedInstall()
    await move()
    await (await again()).engine.update()
    await edit(folder, (state) => Object.assign(state, { root: `key:${keyId('legacy')}`, moved_from: undefined }))
    const old = await publisher.release({ 'evil.txt': 'x' }, { signers: ['thief'] })
    serveLegacy(publisher, old)
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    for (const name of ['trust.json', 'trust.json.prev']) await rm(trustFile(folder, name), { force: true })
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    expect(await rootOf(folder)).toBe(publisher.trust)
    expect((await installedTree(folder)).has('evil.txt')).toBe(false)
    await publisher.head(made)
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'MAN_ROLLBACK' })
  })

  it('keeps its floor when trust.json is lowered or deleted', async () => {
    const { publisher, made, again, folder } = await pinnedInstall()
    const newer = await publisher.release(second)
    serveLegacy(publisher, newer)
    await (await again()).engine.update()
    serveLegacy(publisher, made)
    await edit(folder, (state) => Object.assign(state, { channels: {} }))
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'MAN_ROLLBACK' })
    for (const name of ['trust.json', 'trust.json.prev']) await rm(trustFile(folder, name), { force: true })
    await expect((await again()).engine.update()).rejects.toMatchObject({ code: 'MAN_ROLLBACK' })
  })
})

/** Every path that an update asks for documents by. */
const MOMENTS = [/^kel\//, /^kills\.json$/, /head\.json$/, /manifests\/.*(?<!sigs)\.json$/, /sigs\.json$/]

describe('keys that are rotated while an update reads its documents', () => {
  it.each(MOMENTS)('stop no update, whatever it has read already: after %s (row 355)', async (moment) => {
    const publisher = await Publisher.create()
    await publisher.release(first)
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const made = await publisher.release(second)
    const plain = treeFetch(publisher.tree)
    let isRotated = false
    const rotating: Fetch = async (url, init) => {
      const answer = await plain(url, init)
      if (isRotated || !moment.test(new URL(url).pathname.slice(1))) return answer
      isRotated = true
      await publisher.rotate(({ roles }) => ({
        roles: {
          release: { ...roles.release, keys: [keyId('release 2')] },
          head: { ...roles.head, keys: [keyId('head 2')] },
        },
        revokedKeys: [keyId('release 1'), keyId('head 1')],
      }))
      await publisher.resign(made, ['release 2'])
      await publisher.head(made, { headSigners: ['head 2'] })
      return answer
    }
    const during = await engineFor(publisher, { folder, fetch: rotating })
    expect(await during.engine.update()).toMatchObject({ outcome: 'updated' })
    expect(isRotated).toBe(true)
    expect(await (await engineFor(publisher, { folder })).engine.update()).toMatchObject({ outcome: 'up-to-date' })
  })
})

describe('an install of an identity', () => {
  it('takes no earlier keys from an edited trust.json', async () => {
    const publisher = await Publisher.create()
    await publisher.release(first)
    const { engine, folder } = await engineFor(publisher, { program: ['run.sh'], target: 'linux' })
    await engine.update()
    const evil = await publisher.release(
      { ...first, 'run.sh': { bytes: new TextEncoder().encode('#!/bin/sh\nexit 9\n'), executable: true } },
      { place: { trustRoot: publisher.trust } },
    )
    await edit(folder, (state) => Object.assign(state, { moved_from: `key:${keyId('thief')}` }))
    await writeFile(join(folder, '.updates/current-manifest.json'), evil.bytes)
    await writeFile(join(folder, '.updates/current-manifest.json.sig'), ed25519Sign(seedOf('thief'), evil.bytes))
    await rm(join(folder, '.updates/current-manifest.sigs.json'))
    await writeFile(join(folder, 'run.sh'), '#!/bin/sh\nexit 9\n')
    await expect(engine.launch({ update: false, ...quiet })).rejects.toMatchObject({ code: 'MAN_SIGNATURE' })
  })

  it('does not start under an older role document when the newest one was deleted, and restores it online', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first)
    const { engine, folder } = await engineFor(publisher, { program: ['run.sh'], target: 'linux' })
    await engine.update()
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1')],
    }))
    await publisher.head(made)
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_RETIRED' })
    const newest = join(folder, '.updates/trust/roles/2.json')
    const damages: Record<string, () => Promise<void>> = {
      deleted: () => rm(newest),
      emptied: () => writeFile(newest, ''),
      'replaced by the one before': async () => writeFile(newest, publisher.tree.get('roles/1.json') as Uint8Array),
      'deleted with trust.json': async () => {
        for (const path of [newest, trustFile(folder), trustFile(folder, 'trust.json.prev')])
          await rm(path, { force: true })
      },
    }
    for (const [name, damage] of Object.entries(damages)) {
      await damage()
      const away = await engineFor(publisher, { folder, program: ['run.sh'], target: 'linux', fetch: offline })
      await expect(away.engine.launch(quiet), name).rejects.toMatchObject({
        code: 'TRUST_LOST',
        details: { version: 2 },
      })
      expect(await away.engine.status(), name).toMatchObject({ trust: 'barred', reason: { code: 'TRUST_LOST' } })
      await expect(engine.update(), name).rejects.toMatchObject({ code: 'MAN_KEY_RETIRED' }) // it fetched the document
      await expect(engine.launch({ update: false, ...quiet }), name).rejects.toMatchObject({
        message: expect.stringContaining('revoked'),
      })
    }
    await publisher.resign(made, ['release 2'])
    expect(await ending(engine.launch(quiet))).toBe(0)
  })

  it('uses the copy before when trust.json is empty, and refuses updates when nothing is left to prove (row 221)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(first)
    const { engine, folder } = await engineFor(publisher, { program: ['run.sh'], target: 'linux' })
    await engine.update()
    await publisher.release(second)
    await engine.update()
    await writeFile(trustFile(folder), '')
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date' })
    expect(await engine.status()).toMatchObject({ trust: 'current' })
    for (const name of ['trust.json', 'trust.json.prev']) await writeFile(trustFile(folder, name), '')
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date' }) // rebuilt from the stored documents
    for (const name of ['trust.json', 'trust.json.prev']) await writeFile(trustFile(folder, name), '')
    const away = await engineFor(publisher, { folder, program: ['run.sh'], target: 'linux', fetch: offline })
    expect(await ending(away.engine.launch(quiet))).toBe(0)
    for (const name of ['trust.json', 'trust.json.prev']) await writeFile(trustFile(folder, name), '')
    for (const name of ['trust.json', 'trust.json.prev', 'log.cesr', 'head.json'])
      await writeFile(trustFile(folder, name), '')
    await expect(engine.update()).rejects.toMatchObject({ code: 'TRUST_LOST' })
  })
})
