import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { TestFiles } from '../../../../packages/install-engine/test/support/publisher.ts'
import { bareRoot } from '../support/bare-root.ts'
import type { BareRoot } from '../support/bare-root.ts'
import { buildFor, canBuild, fileOf } from '../support/built-launcher.ts'
import { StudioServer } from '../support/studio.ts'

const ID = 'my-game'

describe.skipIf(!canBuild)('the Linux package on a system without Node', () => {
  let studio: StudioServer
  let root: BareRoot | { readonly reason: string }

  beforeAll(async () => {
    studio = await StudioServer.start()
    const kept = mkdtempSync(join(tmpdir(), 'keyturn-bare-'))
    const built = await buildFor(studio, kept, true)
    root = bareRoot(fileOf(built, 'executable'))
    if (!('reason' in root)) await copyFile(fileOf(built, 'package'), join(root.folder, 'tmp/package.tar.gz'))
    return async () => {
      await studio.close()
      if (!('reason' in root)) root.remove()
      rmSync(kept, { recursive: true, force: true })
    }
  })

  it('installs itself, installs, starts and updates a game from its page, updates itself, and goes (row 378)', async ({
    skip,
  }) => {
    if ('reason' in root) {
      console.log(`no system without Node here: ${root.reason}`)
      return skip(root.reason)
    }
    const { folder } = root
    await expect(root.run('node', ['--version'])).rejects.toThrow('node: not found')
    await root.run('tar', ['-xzf', '/tmp/package.tar.gz', '-C', '/tmp'])
    const unpacked = `/tmp/${ID}-1.0.0`
    await root.run(`${unpacked}/install.sh`, [])
    const home = '/home/ana/.local/share'
    const launcher = `${home}/${ID}/launcher/${ID}`
    expect((await root.run(launcher, ['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(readFileSync(join(folder, `${home}/applications/${ID}.desktop`), 'utf8')).toContain(`Exec="${launcher}"`)

    const game = (word: string): TestFiles => ({
      'game.sh': { bytes: Buffer.from(`#!/bin/sh\necho ${word} > "$(dirname "$0")/saves"\n`), executable: true },
      'data.txt': word,
    })
    await studio.release('1.0.0', game('one'))
    const first = root.start(launcher, [])
    const ended = new Promise<number | null>((resolve) => first.once('exit', resolve))
    const own = join(folder, `${home}/${ID}/launcher/.launcher`)
    const api = await studio.apiOf(own)
    expect(await api.get('status')).toMatchObject({ needsSetup: true })
    const place = '/home/ana/My Game'
    expect(await api.post('setup', { folder: place })).toEqual({ ok: true })
    await api.until((status) => status['version'] === '1.0.0' && status['activity'] === undefined)
    expect(readFileSync(join(folder, place, 'data.txt'), 'utf8')).toBe('one')

    await studio.release('1.1.0', game('two'))
    await api.post('update', {})
    await api.until((status) => status['version'] === '1.1.0' && status['activity'] === undefined)
    expect(readFileSync(join(folder, place, 'data.txt'), 'utf8')).toBe('two')
    await api.post('launch', {})
    await api.until(() => existsSync(join(folder, place, 'saves')))
    expect(readFileSync(join(folder, place, 'saves'), 'utf8')).toBe('two\n')
    await api.post('quit', {})
    expect(await ended).toBe(0)

    const changed = { 'player.cjs': `exports.startPlayer = () => process.stdout.write('changed')` }
    await studio.release('1.1.0', changed, 'launcher')
    const second = root.start(launcher, [])
    const gone = new Promise((resolve) => second.once('exit', resolve))
    while (!existsSync(join(own, 'current.json'))) await new Promise((resolve) => setTimeout(resolve, 50))
    await (await studio.apiOf(own)).post('quit', {})
    await gone
    expect((await root.run(launcher, [])).stdout).toBe('changed')

    await root.run(`${unpacked}/install.sh`, ['--remove'])
    expect(existsSync(join(folder, `${home}/${ID}/launcher`))).toBe(false)
    expect(existsSync(join(folder, place, 'data.txt'))).toBe(true)
  })
})
