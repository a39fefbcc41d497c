import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { keepSettings, storedSettings } from '@keyturn/install-engine'
import { startDaemon } from '../../src/daemon/daemon.ts'
import { lookAtFolder, prepareInstallFolder } from '../../src/player/install-folder.ts'
import { settingsFrom } from '../../src/player/player-session.ts'
import { LauncherProgram } from '../../src/program/program.ts'
import { playerConfig } from '../support/player-config.ts'
import { temporaryFolder } from '../../../../packages/install-engine/test/support/install.ts'

const config = playerConfig({ server: 'https://releases.example/', trust: 'key:aa' })

describe('what a player chose', () => {
  it('is still there after the launcher was started again; server and pin come from the executable', async () => {
    const folder = await temporaryFolder()
    const chosen = { limit: 50_000, language: 'cs', components: { hd: true }, channel: 'beta', pauseWhilePlaying: true }
    await keepSettings(folder, { ...chosen, server: 'https://elsewhere.example/', trust: 'key:bb', target: 'windows' })
    const settings = await settingsFrom(folder, config)
    expect(settings).toEqual({ ...chosen, server: config.server, trust: config.trust, target: 'linux' })
    const daemon = await startDaemon({ folder, settings, check: false })
    await daemon.close()
    expect(await storedSettings(folder)).toMatchObject(chosen)
  })

  it('is whether counts are sent, and only where the studio turned that on', async () => {
    const folder = await temporaryFolder()
    const reporting = { ...config, telemetry: true }
    expect((await settingsFrom(folder, config)).reports).toBeUndefined()
    expect((await settingsFrom(folder, reporting)).reports).toBe(true)
    await keepSettings(folder, { reports: false })
    expect((await settingsFrom(folder, reporting)).reports).toBe(false)
    await keepSettings(folder, { reports: true })
    expect((await settingsFrom(folder, config)).reports).toBeUndefined()
  })

  it('is nothing where it cannot be read', async () => {
    const folder = await temporaryFolder()
    await mkdir(join(folder, '.updates'))
    await writeFile(join(folder, '.updates/settings.json'), '{')
    expect(await settingsFrom(folder, config)).toMatchObject({ channel: 'stable', server: config.server })
  })
})

describe('the help of a studio’s launcher', () => {
  it('names no other game, and no flag that its executable decides', async () => {
    let said = ''
    const stream = { write: (text: string) => void (said += text) }
    const player = { config, stateFolder: '/state', folder: '/game' }
    const environment = { stdout: stream, stderr: stream, env: {}, signal: new AbortController().signal }
    const program = new LauncherProgram({ ...environment, programFolder: '/', player })
    expect(await program.run(['update', '--help'])).toBe(0)
    expect(said).toContain('folder of the install (default: the one that was')
    expect(said).toContain('my-game update')
    expect(said).not.toMatch(/METIN2|--server|--trust|--product|--target|keyturn/i)
  })
})

describe('a folder that a player thinks of', () => {
  it('is new, empty, an install, the game, or refused; nothing is changed by looking', async () => {
    const folder = await temporaryFolder()
    const kind = async (name: string): Promise<string> =>
      (await lookAtFolder(join(folder, name), ['a/b.bin', 'c.txt'])).kind
    for (const name of ['empty', 'install/.updates', 'game/a', 'other'])
      await mkdir(join(folder, name), { recursive: true })
    await writeFile(join(folder, 'game/a/b.bin'), 'x')
    await writeFile(join(folder, 'other/letter.txt'), 'x')
    expect(await kind('new/deeper')).toBe('new')
    expect(await kind('empty')).toBe('empty')
    expect(await kind('install')).toBe('install')
    expect(await kind('game')).toBe('game')
    expect(await kind('other')).toBe('refused')
    const look = await lookAtFolder(join(folder, 'game'), ['a/b.bin', 'c.txt'])
    expect(look).toMatchObject({ found: 1 })
    expect(look.freeBytes).toBeGreaterThan(0)
    await expect(lookAtFolder('relative', [])).resolves.toMatchObject({ kind: 'refused' })
    await expect(prepareInstallFolder(join(folder, 'game'))).rejects.toMatchObject({ code: 'LA_FOLDER' })
    await expect(prepareInstallFolder(join(folder, 'other'), { adopt: true, paths: ['c.txt'] })).rejects.toMatchObject({
      code: 'LA_FOLDER',
    })
    await expect(prepareInstallFolder(join(folder, 'game'), { adopt: true, paths: ['a/b.bin'] })).resolves.toContain(
      'game',
    )
  })
})
