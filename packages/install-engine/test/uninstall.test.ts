import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lockFile } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import { uninstall } from '../src/index.ts'
import type { Fetch } from '../src/index.ts'
import { engineFor, treeFetch, treeText } from './support/install.ts'
import { noise, Publisher } from './support/publisher.ts'

/** An install, and its next release. */
async function installed() {
  const publisher = await Publisher.create()
  await publisher.release({ 'a.txt': 'one', 'data/b.bin': noise(100_000, 1), 'mod.txt': 'theirs' })
  const { engine, folder } = await engineFor(publisher)
  await engine.update()
  return { publisher, folder }
}

describe('uninstall()', () => {
  it('cuts no running update: it refuses, removes nothing, and the update ends well (row 380)', async () => {
    const { publisher, folder } = await installed()
    await publisher.release({ 'a.txt': 'two', 'data/b.bin': noise(100_000, 2), 'mod.txt': 'theirs' })
    let letGo: () => void = () => undefined
    const held = new Promise<void>((resolve) => (letGo = resolve))
    let arrived: () => void = () => undefined
    const downloading = new Promise<void>((resolve) => (arrived = resolve))
    const plain = treeFetch(publisher.tree)
    const fetch: Fetch = async (url, init) => {
      if (url.includes('/files/')) {
        arrived()
        await held
      }
      return await plain(url, init)
    }
    const { engine } = await engineFor(publisher, { folder, fetch })
    const update = engine.update()
    await downloading
    const before = await treeText(folder)
    await expect(uninstall(folder)).rejects.toMatchObject({ code: 'LA_LOCKED', details: { pid: process.pid } })
    expect(await treeText(folder)).toBe(before)
    // With patience it goes on when the update has ended, and removes what that installed.
    const removal = uninstall(folder, { lockWaitMs: 60_000 })
    letGo()
    expect(await update).toMatchObject({ outcome: 'updated' })
    expect(await removal).toEqual({ removedFiles: 3, keptFiles: [] })
    expect(await readdir(folder)).toEqual([])
  })

  it('refuses while somebody downloads beside the install, or plays (row 380)', async () => {
    const { folder } = await installed()
    const staging = await lockFile(join(folder, '.updates/staging.lock'))
    await expect(uninstall(folder)).rejects.toMatchObject({ code: 'LA_LOCKED' })
    await staging.release()
    const client = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)'], { stdio: 'ignore' })
    const ended = new Promise((resolve) => client.once('exit', resolve))
    await writeFile(join(folder, '.updates/client.json'), JSON.stringify({ pid: client.pid, started: '' }))
    await expect(uninstall(folder)).rejects.toMatchObject({ code: 'LA_LOCKED', details: { pid: client.pid } })
    expect(existsSync(join(folder, 'a.txt'))).toBe(true)
    client.kill()
    await ended
    expect(await uninstall(folder)).toMatchObject({ removedFiles: 3 })
    expect(await readdir(folder)).toEqual([])
  })

  it('keeps what the player changed or added, and leaves nothing of its own, locks of the dead included', async () => {
    const { folder } = await installed()
    await writeFile(join(folder, 'mod.txt'), 'mine')
    await mkdir(join(folder, 'data/saves'))
    await writeFile(join(folder, 'data/saves/1.sav'), 'level 9')
    const locks = new URL('../../primitives/src/node/lock.ts', import.meta.url).href
    const script = `import { lockFile } from '${locks}'; await lockFile(process.argv[1]); process.kill(process.pid, 9)`
    spawnSync(process.execPath, ['--input-type=module', '-e', script, join(folder, '.updates/lock')])
    expect(existsSync(join(folder, '.updates/lock'))).toBe(true)
    await uninstall(folder)
    expect((await readdir(folder, { recursive: true })).toSorted()).toEqual([
      'data',
      'data/saves',
      'data/saves/1.sav',
      'mod.txt',
    ])
    expect(await readFile(join(folder, 'mod.txt'), 'utf8')).toBe('mine')
    await expect(uninstall(folder)).rejects.toMatchObject({ code: 'LA_NOT_INSTALLED' })
  })
})
