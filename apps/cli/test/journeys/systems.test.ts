import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

const SHARED_BYTES = 300_000

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

it('one release for Linux and Windows: each player has the files of their system, and pays for no other', async () => {
  await journey.open({
    platforms: { linux: ['bin/linux/**', '*.sh'], windows: ['bin/windows/**', '*.exe'] },
    program: { linux: 'game.sh', windows: 'game.exe' },
  })
  await journey.build({
    'bin/linux/lib.so': 'for Linux',
    'bin/windows/lib.dll': 'for Windows',
    'data/world.bin': randomBytes(SHARED_BYTES),
    'game.exe': 'MZ',
    'game.sh': '#!/bin/sh\necho "$(cat read.me)" > ../played\n',
    'read.me': 'one',
  })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.update('penguin')
  await journey.update('window', '--target', 'windows')
  const names = async (player: string): Promise<string[]> => Object.keys(await journey.disk(player)).toSorted()
  const everyone = ['pack/data.m2p', 'read.me', 'runtime-key.json']
  expect(await names('penguin')).toEqual(['game.sh', 'pack/bin.linux.m2p', ...everyone].toSorted())
  expect(await names('window')).toEqual(['game.exe', 'pack/bin.windows.m2p', ...everyone].toSorted())
  const [linux, windows] = [await journey.disk('penguin'), await journey.disk('window')]
  expect(windows['pack/data.m2p']).toBe(linux['pack/data.m2p'])

  await journey.build({ 'game.exe': 'MZ, fixed' })
  await journey.keyturn(['ship', '--version-name', '1.1'])
  expect(await journey.update('penguin')).toMatchObject({ version: '1.1', downloaded_bytes: 0 })
  await journey.update('window')
  expect((await journey.disk('window'))['game.exe']).toBe('MZ, fixed')
  expect(await journey.disk('penguin')).toEqual(linux)
})
