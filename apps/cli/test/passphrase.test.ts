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
  it('puts the keystore under another passphrase, and the next key stays under its own', async () => {
    expect(dataOf(await run('passphrase', 'passphrase', '--new-passphrase-file', world.path('new')))).toMatchObject({
      changed: true,
    })
    expect(codeOf(await run('passphrase', 'rotate', 'content', '--yes'))).toBe('KEY_PASSPHRASE')
    expect(dataOf(await run('new', 'rotate', 'content', '--yes'))).toMatchObject({ to_key_id: 2 })
    expect(
      dataOf(await run('new', 'rotate', 'identity', '--yes', '--next-passphrase-file', world.path('passphrase'))),
    ).toMatchObject({ sn: 1 })
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
