import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { engineFor, expectedText, installedTree, offline, treeFetch, treeText } from './support/install.ts'
import { contentKey, keyId, noise, Publisher, sha256Hex } from './support/publisher.ts'

const first = {
  'client.txt': 'one',
  'pack/a.bin': noise(2_000_000, 3),
  'pack/b.bin': noise(700_000, 5),
  'bin/run.sh': { bytes: new TextEncoder().encode('#!/bin/sh\nexit 0\n'), executable: true },
}
const second = { ...first, 'client.txt': 'two', 'new/folder/c.txt': 'three' }

function edited(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice()
  copy.set(noise(100, at + 1), at)
  return copy
}

describe('update()', () => {
  it('installs into an empty folder, and finds nothing to do the second time', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first)
    const { engine, folder, events, served } = await engineFor(publisher)
    const result = await engine.update()
    expect(result).toMatchObject({ outcome: 'updated', version: '2026.11.21-1', writtenFiles: 4, trust: 'current' })
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
    expect(events.filter((event) => event.type === 'state').map((event) => event.state)).toEqual([
      'lock',
      'recover',
      'trust',
      'plan',
      'preflight',
      'fetch',
      'stage',
      'commit',
      'swap',
      'prune',
      'finalize',
      'idle',
    ])
    served.length = 0
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date', writtenFiles: 0 })
    expect(served.filter(({ path }) => path.startsWith('files/'))).toEqual([])
    expect(await engine.status()).toMatchObject({
      version: '2026.11.21-1',
      trust: 'current',
      confirmed: false,
      canRollBack: false,
    })
  })

  it('fetches only the pieces that changed, removes what was dropped, keeps what the user changed (rows 218, 219)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ ...first, 'old.txt': 'goes', 'mine.cfg': 'default' })
    const { engine, folder, served } = await engineFor(publisher)
    await engine.update()
    await writeFile(join(folder, 'mine.cfg'), 'my own')
    await writeFile(join(folder, 'screenshot.png'), 'mine')
    const made = await publisher.release({ ...second, 'pack/a.bin': edited(first['pack/a.bin'], 1_000_000) })
    served.length = 0
    const result = await engine.update()
    expect(result).toMatchObject({ outcome: 'updated', removedFiles: 1, keptFiles: ['mine.cfg'] })
    expect(result.downloadedBytes).toBeLessThan(300_000)
    const tree = await installedTree(folder)
    expect(tree.has('old.txt')).toBe(false)
    for (const [path, bytes] of made.files) expect(sha256Hex(tree.get(path) as Uint8Array)).toBe(sha256Hex(bytes))
    expect(new TextDecoder().decode(tree.get('mine.cfg'))).toBe('my own')
    expect(tree.has('screenshot.png')).toBe(true)
  })

  it('copies a moved file instead of fetching it, and installs one blob at two places', async () => {
    const publisher = await Publisher.create()
    await publisher.release(first, { index: false })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const { 'pack/a.bin': moved, ...rest } = first
    const made = await publisher.release(
      { ...rest, 'pack/moved.bin': moved, 'pack/again.bin': moved },
      { index: false },
    )
    expect((await engine.update()).downloadedBytes).toBe(0)
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
  })

  it('refuses a release without its signature, with another key, or older than what was seen, and leaves all as it was', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first)
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const [tree, trust] = [await treeText(folder), await readFile(join(folder, '.updates/trust/trust.json'), 'utf8')]
    const oldHead = publisher.tree.get('channels/stable/head.json') as Uint8Array
    await publisher.release(second, { signers: ['thief'] })
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN', kind: 'auth' })
    const bad = await publisher.release(second)
    publisher.tree.set(`channels/stable/manifests/${bad.model.version}.json`, edited(bad.bytes, 20))
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_SIGNATURE' })
    expect(await treeText(folder)).toBe(tree)
    publisher.serve(bad)
    await engine.update()
    publisher.tree.set('channels/stable/head.json', oldHead)
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_ROLLBACK', kind: 'policy' })
    expect(trust).not.toBe('')
    expect(made.model.version).toBe('2026.11.21-1')
  })

  it('takes a rotated release key without a download', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first)
    const { engine, served } = await engineFor(publisher)
    await engine.update()
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1')],
    }))
    const again = await publisher.resign(made, ['release 2'])
    await publisher.head(again)
    served.length = 0
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date', writtenFiles: 0 })
    expect(served.filter(({ path }) => path.startsWith('files/') || path.endsWith('-1.json'))).toEqual([])
    expect(await engine.status()).toMatchObject({ trust: 'current', rolesVersion: 2 })
  })

  it('bars play when the keys of the installed release were revoked and nothing renewed it', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first)
    const { engine, folder } = await engineFor(publisher, { program: ['bin/run.sh'] })
    await engine.update()
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1')],
    }))
    await publisher.head(made)
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_KEY_RETIRED' })
    await expect(engine.launch({ update: false })).rejects.toMatchObject({ code: 'TRUST_LOST' })
    expect(await engine.status()).toMatchObject({ trust: 'barred' })
    await publisher.resign(made, ['release 2'])
    await engine.update()
    expect(await engine.status()).toMatchObject({ trust: 'current' })
    expect((await installedTree(folder)).size).toBe(4)
  })

  it('plays offline beside role documents that the stored log does not seal', async () => {
    const publisher = await Publisher.create()
    await publisher.release(first)
    const { engine, folder } = await engineFor(publisher, { program: ['bin/run.sh'], target: 'linux' })
    await engine.update()
    await publisher.rotate(() => ({ revokedKeys: [keyId('release 9')] }))
    // As a crash leaves it: the next document is stored, the log that seals it is not yet.
    await writeFile(join(folder, '.updates/trust/roles/2.json'), publisher.tree.get('roles/2.json') as Uint8Array)
    await writeFile(join(folder, '.updates/trust/roles/999.json'), 'stray')
    const { exited } = await engine.launch({ update: false, stdio: ['ignore', 'ignore', 'ignore'] })
    expect(await exited).toBe(0)
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date' }) // the old head still names the release
    expect(await engine.status()).toMatchObject({ rolesVersion: 2 })
  })

  it('believes the stored signed documents over an edited trust.json', async () => {
    const publisher = await Publisher.create()
    const key = contentKey(4)
    const old = await publisher.release({ 'a.txt': 'one' }, { place: { contentKeys: [key.entry] } })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const made = await publisher.release({ 'a.txt': 'two' }, { place: { contentKeys: [key.entry] } })
    await engine.update()
    const path = join(folder, '.updates/trust/trust.json')
    const manifests = join(folder, '.updates/trust/manifests')
    const edit = async (): Promise<void> => {
      const state = JSON.parse(await readFile(path, 'utf8'))
      state.channels.stable = {
        ...state.channels.stable,
        manifest_sequence: 1,
        manifest_sha256: old.pin.sha256,
        version: old.model.version,
      }
      state.key_ids['4'].commitment = '00'.repeat(32)
      for (const copy of [path, `${path}.prev`]) await writeFile(copy, JSON.stringify(state))
    }
    await edit()
    await writeFile(join(manifests, '999.json'), old.bytes) // a true document under another's number proves nothing
    await writeFile(join(manifests, '999.sigs.json'), old.signatures)
    await writeFile(join(manifests, '998.json'), 'stray')
    await publisher.head(old)
    await expect(engine.update()).rejects.toMatchObject({ code: 'MAN_ROLLBACK', kind: 'policy' })
    const kept = JSON.parse(await readFile(path, 'utf8'))
    expect(kept.channels.stable).toMatchObject({ manifest_sequence: 2, manifest_sha256: made.pin.sha256 })
    expect(kept.key_ids['4'].commitment).toBe(key.entry.commitment)
    await publisher.head(made)
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date' })
  })

  it('says LA_NETWORK without a server and changes nothing', async () => {
    const publisher = await Publisher.create()
    const { engine } = await engineFor(publisher, { fetch: offline })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_NETWORK', kind: 'io' })
    await expect(engine.launch()).rejects.toMatchObject({ code: 'LA_NETWORK' })
  })

  it('never writes through a link, and sets aside a folder with files in it (row 203)', async () => {
    const publisher = await Publisher.create()
    const { engine, folder } = await engineFor(publisher)
    await publisher.release(first)
    const outside = `${folder}-outside`
    await mkdir(outside)
    await symlink(outside, join(folder, 'pack'))
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_SYMLINK' })
    await rm(join(folder, 'pack'))
    await mkdir(join(folder, 'client.txt'))
    await writeFile(join(folder, 'client.txt/mine'), 'x')
    expect(await engine.update()).toMatchObject({ setAside: [{ path: 'client.txt', to: 'client.txt.set-aside' }] })
    expect(await readFile(join(folder, 'client.txt.set-aside/mine'), 'utf8')).toBe('x')
    await rm(join(folder, 'client.txt'))
    await writeFile(join(outside, 'target'), 'untouched')
    await symlink(join(outside, 'target'), join(folder, 'client.txt'))
    await engine.update()
    expect(await readFile(join(outside, 'target'), 'utf8')).toBe('untouched')
    expect(await readFile(join(folder, 'client.txt'), 'utf8')).toBe('one')
    await rm(outside, { recursive: true })
  })

  it('refuses an .updates that is a link (row 202)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(first)
    const { engine, folder } = await engineFor(publisher, { logFile: false })
    await mkdir(`${folder}-elsewhere`)
    await symlink(`${folder}-elsewhere`, join(folder, '.updates'))
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_SYMLINK' })
    await rm(`${folder}-elsewhere`, { recursive: true })
  })

  it('goes on after a pause only when resumed', async () => {
    const publisher = await Publisher.create()
    await publisher.release(first)
    const { engine, folder } = await engineFor(publisher)
    await engine.pause()
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_PAUSED' })
    const again = await engineFor(publisher, { folder })
    await expect(again.engine.update()).rejects.toMatchObject({ code: 'LA_PAUSED' })
    await again.engine.resume()
    expect(await again.engine.update()).toMatchObject({ outcome: 'updated' })
  })

  it('shows what a paused download has, before it goes on and after', async () => {
    const publisher = await Publisher.create()
    const long = noise(6_000_000, 8)
    await publisher.release({ 'long.bin': long, 'a.txt': 'a' })
    const { engine, folder, events } = await engineFor(publisher, {
      fetch: async (url, init) => {
        const answer = await treeFetch(publisher.tree)(url, init)
        if (!url.includes(sha256Hex(long))) return answer
        const reader = answer.body?.getReader()
        let came = 0
        const body = new ReadableStream<Uint8Array>(
          {
            async pull(controller) {
              const { value, done } = (await reader?.read()) ?? { value: undefined, done: true }
              if (done || value === undefined) return controller.close()
              came += value.length
              if (came > 4_500_000) await engine.pause()
              controller.enqueue(value)
            },
          },
          { highWaterMark: 0 },
        )
        return new Response(body, { status: answer.status, headers: answer.headers })
      },
    })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_PAUSED' })
    const shown = (await engine.status()).progress
    expect(shown.downloadedBytes).toBeGreaterThan(4_000_000)
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_PAUSED' })
    expect((await engine.status()).progress).toMatchObject({ downloadedBytes: shown.downloadedBytes })
    expect(events.length).toBeGreaterThan(0)
    const again = await engineFor(publisher, { folder })
    await again.engine.resume()
    const result = await again.engine.update()
    expect(result.downloadedBytes).toBeLessThan(2_100_000)
    const last = (await again.engine.status()).progress
    expect([last.downloadedBytes, last.downloadTotalBytes]).toEqual([6_000_001, 6_000_001])
  })

  it('follows a rollout only when its turn has come', async () => {
    const publisher = await Publisher.create()
    const old = await publisher.release(first)
    const { engine, events } = await engineFor(publisher)
    await engine.update()
    const rollout = (percent: number) => ({
      head: (head: import('@keyturn/manifest').Head) => ({
        ...head,
        fallback: old.pin,
        rollout: { percent, salt: 'ab'.repeat(16), paused: false },
      }),
    })
    const made = await publisher.release(second, rollout(0))
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date', version: '2026.11.21-1' })
    expect(events).toContainEqual(expect.objectContaining({ type: 'notice', code: 'LA_ROLLOUT' }))
    await publisher.head(made, rollout(100))
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: '2026.11.21-2' })
  })
})

describe('repair()', () => {
  it('fetches only the bad pieces of bad files (row 218)', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first)
    const { engine, folder, served } = await engineFor(publisher)
    await engine.update()
    await engine.repair()
    const path = join(folder, 'pack/a.bin')
    await writeFile(path, edited(first['pack/a.bin'], 500_000))
    await rm(join(folder, 'client.txt'))
    served.length = 0
    const result = await engine.repair()
    expect(result).toMatchObject({ outcome: 'repaired', writtenFiles: 2 })
    expect(result.downloadedBytes).toBeLessThan(500_000)
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
  })
})

describe('rollback()', () => {
  it('brings the release before back and does not take the same one again', async () => {
    const publisher = await Publisher.create()
    const old = await publisher.release({ ...first, 'old.txt': 'goes' })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    await expect(engine.rollback()).rejects.toMatchObject({ code: 'LA_NO_ROLLBACK' })
    await publisher.release(second)
    await engine.update()
    expect(await engine.status()).toMatchObject({ canRollBack: true })
    expect(await engine.rollback()).toMatchObject({
      outcome: 'rolled-back',
      version: '2026.11.21-1',
      previousVersion: '2026.11.21-2',
    })
    expect(await treeText(folder)).toBe(expectedText(old.files, sha256Hex))
    expect(await engine.update()).toMatchObject({ outcome: 'stay', version: '2026.11.21-1' })
    const third = await publisher.release({ ...second, 'client.txt': 'fixed' })
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: '2026.11.21-3' })
    expect(await treeText(folder)).toBe(expectedText(third.files, sha256Hex))
  })
})

describe('the folder', () => {
  it('is refused when another launcher works on it (row 217)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(first)
    const { engine, folder } = await engineFor(publisher)
    const second = await engineFor(publisher, { folder })
    const results = await Promise.allSettled([engine.update(), second.engine.update()])
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? 'done' : (result.reason as { code: string }).code,
    )
    expect(codes.sort()).toEqual(['LA_LOCKED', 'done'])
  })
})
