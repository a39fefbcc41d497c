import { rename, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
  await writeFile(world.path('new'), 'another\n', { mode: 0o600 })
})
afterEach(async () => {
  await world.remove()
})

function run(passphrase: string, ...args: string[]): Promise<Outcome> {
  return keyturn([...args, '--json', '--home', world.path('home'), '--passphrase-file', world.path(passphrase)])
}

describe('keyturn passphrase', () => {
  it('puts everything under another passphrase that the present one opens, and names what it did not', async () => {
    await writeFile(world.path('token'), 'a secret of CI')
    for (const args of [
      ['vault', 'init'],
      ['vault', 'seal', 'ci', 'token', world.path('token')],
      ['id', 'init', '--alias', 'laptop'],
    ])
      expect((await run('passphrase', ...args, '--yes')).code, args.join(' ')).toBe(0)
    await rename(world.path('home', 'next-identity.keystore'), world.path('stick'))
    const { files } = dataOf(await run('passphrase', 'passphrase', '--new-passphrase-file', world.path('new'))) as {
      files: { what: string; outcome: string }[]
    }
    expect(files.map(({ what, outcome }) => [what, outcome])).toEqual([
      ['keystore of the home', 'changed'],
      ['next identity key', 'missing'],
      ['keystore of the identity "laptop"', 'changed'],
      ['next key of the identity "laptop"', 'changed'],
      ['vault of the home', 'changed'],
    ])
    expect((await run('new', 'vault', 'open', 'ci', 'token', '--output', world.path('opened'))).code).toBe(0)
    expect(codeOf(await run('passphrase', 'vault', 'status'))).toBe('VK_PASSPHRASE')
    expect(dataOf(await run('new', 'id', 'rotate', '--alias', 'laptop', '--yes'))).toMatchObject({ sn: 1 })
    // Interrupted, it is run again: what is changed already stays so.
    await rename(world.path('stick'), world.path('home', 'next-identity.keystore'))
    const again = dataOf(await run('passphrase', 'passphrase', '--new-passphrase-file', world.path('new')))
    expect((again['files'] as { outcome: string }[]).map(({ outcome }) => outcome)).toEqual([
      'already',
      'changed',
      'already',
      'already',
      'already',
    ])
  })

  it('reaches the vaults outside the home that were made or opened with it, and names each that it did not reach', async () => {
    const vault = (passphrase: string, command: string, path: string) =>
      run(passphrase, 'vault', command, '--vault', world.path(path), '--yes')
    for (const path of ['made.db', 'far/folder', 'unplugged.db'])
      expect((await vault('passphrase', 'init', path)).code).toBe(0)
    expect((await vault('new', 'init', 'strange.db')).code).toBe(0)
    // A vault of another home, that was only opened here.
    const elsewhere = ['--home', world.path('other'), '--passphrase-file', world.path('passphrase')]
    await keyturn(['vault', 'init', '--vault', world.path('opened.db'), '--json', '--yes', ...elsewhere])
    expect((await vault('passphrase', 'status', 'opened.db')).code).toBe(0)
    await rename(world.path('unplugged.db.key'), world.path('stick.key'))
    const findings = async (passphrase: string): Promise<string[]> => {
      const { findings: found } = JSON.parse((await run(passphrase, 'doctor')).stdout).data as {
        findings: { check: string; message: string }[]
      }
      return found.filter(({ check }) => check === 'vault').map(({ message }) => message)
    }
    expect((await findings('passphrase')).sort()).toEqual([
      `"${world.path('strange.db.key')}" has another passphrase than the home, or is damaged`,
      `"${world.path('unplugged.db.key')}" is not there: bring its medium, or remove it from vaults.json`,
    ])
    const changed = await run('passphrase', 'passphrase', '--new-passphrase-file', world.path('new'))
    const files = dataOf(changed)['files'] as { what: string; path: string; outcome: string }[]
    expect(files.filter(({ what }) => what === 'vault').map(({ path, outcome }) => [path, outcome])).toEqual([
      [world.path('opened.db.key'), 'changed'],
      [world.path('strange.db.key'), 'already'],
      [world.path('unplugged.db.key'), 'missing'],
      [world.path('far/folder/vault.key'), 'changed'],
      [world.path('made.db.key'), 'changed'],
    ])
    for (const path of ['made.db', 'far/folder', 'opened.db']) {
      expect((await vault('new', 'status', path)).code, path).toBe(0)
      expect(codeOf(await vault('passphrase', 'status', path)), path).toBe('VK_PASSPHRASE')
    }
    await writeFile(world.path('home', 'vaults.json'), '{}')
    expect(codeOf(await run('new', 'passphrase', '--dry-run'))).toBe('CLI_HOME_FORMAT')
  })

  it('of the home covers the next key beside it', async () => {
    expect(dataOf(await run('passphrase', 'passphrase', '--new-passphrase-file', world.path('new')))).toMatchObject({
      changed: true,
    })
    expect(codeOf(await run('passphrase', 'rotate', 'content', '--yes'))).toBe('KEY_PASSPHRASE')
    expect(dataOf(await run('new', 'rotate', 'content', '--yes'))).toMatchObject({ to_key_id: 2 })
    expect(dataOf(await run('new', 'rotate', 'identity', '--yes'))).toMatchObject({ sn: 1 })
  })

  it('does the same for the next key, wherever its file is', async () => {
    await rename(world.path('home', 'next-identity.keystore'), world.path('stick'))
    dataOf(
      await run(
        'passphrase',
        'passphrase',
        '--next-key-file',
        world.path('stick'),
        '--new-passphrase-file',
        world.path('new'),
      ),
    )
    expect(
      dataOf(
        await run(
          'passphrase',
          'rotate',
          'identity',
          '--yes',
          '--next-key-file',
          world.path('stick'),
          '--next-passphrase-file',
          world.path('new'),
        ),
      ),
    ).toMatchObject({ sn: 1 })
  })

  it('changes nothing under a wrong one, with --dry-run, or when there is no terminal to ask for the new one', async () => {
    expect(codeOf(await run('new', 'passphrase', '--new-passphrase-file', world.path('new')))).toBe('KEY_PASSPHRASE')
    expect(dataOf(await run('passphrase', 'passphrase', '--dry-run'))).toMatchObject({ changed: false })
    expect(codeOf(await run('passphrase', 'passphrase'))).toBe('CLI_NO_TERMINAL')
    expect((await run('passphrase', 'rotate', 'content', '--yes')).code).toBe(0)
  })
})
