import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hexEncode, systemRandom, utf8Encode } from '@keyturn/primitives'
import { sealLegacyForTest } from '@keyturn/vault-kdf/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'
import { codeOf, dataOf, keyturn } from '../support/keyturn.ts'
import type { Outcome } from '../support/keyturn.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

/** A studio with a server and a release. */
async function studio(): Promise<void> {
  await journey.open({ program: { linux: 'play.sh' } })
  const play = '#!/bin/sh\ncd "$(dirname "$0")"\necho "played $(cat read.me)" >> ../played\n'
  await journey.build({ 'data/a.txt': 'first', 'read.me': 'good', 'play.sh': play })
  await journey.keyturn(['ship', '--version-name', '1.0'])
}

const readMe = async (player: string): Promise<string | undefined> => (await journey.disk(player))['read.me']

describe.skipIf(process.platform === 'win32')('a day with one passphrase', () => {
  /** A terminal of that day: no passphrase is in it. */
  async function day(...args: string[]): Promise<Outcome> {
    const { KEYTURN_PASSPHRASE_FILE: _, ...terminal } = journey.environment()
    return await keyturn([...args, '--json', '--yes'], {
      cwd: journey.path('game'),
      env: { ...terminal, KEYTURN_TOKEN: journey.server.token, XDG_RUNTIME_DIR: journey.path('run') },
    })
  }

  it('unlocked for a while, two releases go out, and after "lock" the third asks', async () => {
    await studio()
    await mkdir(journey.path('run'), { mode: 0o700 })
    const once = ['--passphrase-file', journey.path('passphrase')]
    expect(codeOf(await day('ship', '--version-name', '1.1'))).toBe('CLI_NO_TERMINAL')
    try {
      expect(dataOf(await day('unlock', '--for', '1h', ...once))).toMatchObject({ unlocked: true })
      for (const version of ['1.1', '1.2']) {
        await journey.build({ 'read.me': version })
        expect(dataOf(await day('ship', '--version-name', version))).toMatchObject({ shipped: true })
        await journey.update('player')
        expect(await readMe('player')).toBe(version)
      }
    } finally {
      expect(dataOf(await day('lock'))).toEqual({ was_unlocked: true })
    }
    await journey.build({ 'read.me': '1.3' })
    expect(codeOf(await day('ship', '--version-name', '1.3'))).toBe('CLI_NO_TERMINAL')
    expect(await readdir(journey.path('run/keyturn'))).toEqual([])
    const { releases } = await journey.keyturn(['release', 'list'])
    expect((releases as { version: string }[]).map(({ version }) => version).toSorted()).toEqual(['1.0', '1.1', '1.2'])
    await journey.update('player')
    expect(await readMe('player')).toBe('1.2')
  })
})

describe('a stolen head key at three in the morning', () => {
  it('is ended without the stick: players play on, take nothing of the thief, and update in the morning', async () => {
    await studio()
    await journey.update('player')
    const before = await journey.disk('player')
    // The next identity key is on a stick that nobody has at this hour.
    await rename(journey.path('home/next-identity.keystore'), journey.path('stick'))
    await journey.copy('home', 'thief')
    expect(await journey.keyturn(['release', 'kill', 'head'])).toMatchObject({ published: true })

    // The thief has the keys, the passphrase and the token.
    await journey.build({ 'read.me': 'evil' })
    const theirs = await journey.answer(['ship', '--version-name', '6.6'], { home: 'thief' })
    expect(theirs.error?.code).toBe('MAN_KEY_KILLED')
    const refused = await journey.answer(['update', '--dir', journey.path('player')], { home: 'no-home' })
    expect(refused.error?.code).toBe('MAN_KEY_KILLED')
    expect(await journey.disk('player')).toEqual(before)
    if (process.platform === 'linux') {
      await journey.keyturn(['launch', '--dir', journey.path('player')], { home: 'no-home' })
      expect(await readFile(journey.path('played'), 'utf8')).toBe('played good\n')
    }

    await rename(journey.path('stick'), journey.path('home/next-identity.keystore'))
    await journey.keyturn(['rotate', 'head'])
    await journey.build({ 'read.me': 'fixed' })
    await journey.keyturn(['ship', '--version-name', '1.1'])
    for (const player of ['player', 'new']) {
      await journey.update(player)
      expect(await readMe(player), player).toBe('fixed')
    }
    expect(await journey.answer(['doctor'])).toMatchObject({ ok: true })
  })
})

describe('secrets of HexVault', () => {
  it('are imported, rotated and read; what is on disk holds none of them', async () => {
    await journey.keyturn(['init', '--product', 'my-game'])
    const master = systemRandom(32)
    await writeFile(journey.path('master.key'), `${hexEncode(master)}\n`, { mode: 0o600 })
    await mkdir(journey.path('old'))
    const records = ['deploy', 'store'].map((name) => ({ cell: 'ci', name, file: `${name}.bin` }))
    for (const { name, file } of records) {
      const place = { partition: 'default', cell: 'ci', layer: 0 as const, context: {} }
      const blob = sealLegacyForTest('hv-1.1.2', place, utf8Encode(`secret ${name}`), { master, random: systemRandom })
      await writeFile(journey.path('old', file), blob)
    }
    await writeFile(journey.path('old/list.json'), JSON.stringify(records))
    await journey.keyturn(['vault', 'init'])
    const from = ['--profile', 'hv-1.1.2', '--master-file', journey.path('master.key')]
    const imported = await journey.keyturn(['vault', 'import', '--list', journey.path('old/list.json'), ...from])
    expect(imported).toMatchObject({ records: 2, imported: true, key_version: 1 })
    // Nothing of HexVault is needed from here on.
    for (const path of ['old', 'master.key']) await rm(journey.path(path), { recursive: true })
    await journey.keyturn(['rotate', 'vault'])
    for (const { name } of records) {
      const output = journey.path(`${name}.txt`)
      await journey.keyturn(['vault', 'open', 'ci', name, '--output', output])
      expect(await readFile(output, 'utf8')).toBe(`secret ${name}`)
    }
    const vault = await journey.disk('home/vault')
    expect(Object.values(vault).join('')).not.toContain('secret deploy')
    expect(Object.keys(vault)).toContain('vault.key')
    expect(await journey.answer(['doctor', '--offline'])).toMatchObject({ ok: true })
  })
})
