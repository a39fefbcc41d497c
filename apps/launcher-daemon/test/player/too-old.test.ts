import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readPointer } from '../../src/player/bundle-pointer.ts'
import { PlayerSession } from '../../src/player/player-session.ts'
import { writePlayerState } from '../../src/player/player-state.ts'
import { LauncherProgram } from '../../src/program/program.ts'
import { playerConfig } from '../support/player-config.ts'
import { temporaryFolder } from '../../../../packages/install-engine/test/support/install.ts'
import { StudioServer } from '../support/studio.ts'

let studio: StudioServer
beforeEach(async () => {
  studio = await StudioServer.start()
})
afterEach(async () => {
  await studio.close()
})

/** A player whose game is installed, and a release that needs a newer launcher. */
async function player() {
  const root = await temporaryFolder()
  const [stateFolder, folder] = [join(root, '.launcher'), join(root, 'game')]
  await mkdir(stateFolder, { mode: 0o700 })
  await mkdir(folder)
  await writePlayerState(stateFolder, folder)
  await writeFile(join(root, 'chromium'), '#!/bin/sh\n')
  await chmod(join(root, 'chromium'), 0o755)
  const config = playerConfig({ server: studio.address, trust: studio.publisher.trust })
  const release = async (): Promise<void> => {
    const [build, nowMs] = [{ minLauncherVersion: '99.0.0' }, Date.now()]
    studio.publisher.nowMs = nowMs
    await studio.publisher.release({ 'game.sh': 'two' }, { version: '2.0.0', channel: 'stable', nowMs, build })
  }
  return { root, stateFolder, folder, config, release, env: { PATH: root } }
}

describe('a release that needs a newer launcher (MAN_LAUNCHER_TOO_OLD)', () => {
  it('makes the launcher fetch one and start again as that one, once', async () => {
    await studio.release('1.0.0', { 'game.sh': 'one' })
    const { release, ...made } = await player()
    let starts = 0
    const asset = (): never => {
      throw new Error('the studio gave no image')
    }
    const { signal } = new AbortController()
    const start = async (runningSha256?: string): Promise<Promise<number>> =>
      new PlayerSession({ ...made, runningSha256, asset, signal, startAgain: () => (starts += 1) }).run()
    const ended = start()
    const api = await studio.apiOf(made.stateFolder)
    await api.until((status) => status['version'] === '1.0.0' && status['activity'] === undefined)
    await studio.release('1.1.0', { 'player.cjs': 'newer', 'node.json': '{"node":24}' }, 'launcher')
    await release()
    await api.post('update', {})
    expect(await ended).toBe(0)
    expect(starts).toBe(1)
    const pointer = await readPointer(made.stateFolder)
    expect(pointer).toMatchObject({ version: '1.1.0' })

    const again = start(pointer?.sha256) // too old as well: it says so and stays
    const second = await studio.apiOf(made.stateFolder)
    await second.until((status) => (status['lastError'] as { code?: string })?.code === 'MAN_LAUNCHER_TOO_OLD')
    await second.post('quit', {})
    expect(await again).toBe(0)
    expect(starts).toBe(1)
  })

  it.each([true, false])('makes a command fetch one; it runs again or says why not: newer %s', async (isNewer) => {
    const { config, stateFolder, folder, release } = await player()
    await release()
    let said = ''
    const stream = { write: (text: string) => void (said += text) }
    const { signal } = new AbortController()
    const program = new LauncherProgram({
      stdout: stream,
      stderr: { write: () => undefined },
      env: {},
      signal,
      programFolder: folder,
      player: { config, stateFolder, folder, updateLauncher: () => Promise.resolve(isNewer) },
    })
    const code = await program.run(['update', '--json'])
    expect(program.isForNewer).toBe(isNewer)
    expect(code).toBe(isNewer ? 0 : 4)
    expect(said).toEqual(isNewer ? '' : expect.stringContaining('MAN_LAUNCHER_TOO_OLD'))
  })
})
