import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isLockFile } from '@keyturn/primitives/node'
import { Keys } from '@keyturn/publisher/keys'
import { identityRotation, identityRotationSteps } from '@keyturn/publisher/rotation'
import { killedBefore } from '../support/killed-rotation.ts'
import { codeOf, dataOf, keyturn } from '../support/keyturn.ts'
import type { Outcome } from '../support/keyturn.ts'
import { World } from '../support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

function run(...args: string[]): Promise<Outcome> {
  return keyturn(
    ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes', ...args],
    { cwd: world.folder },
  )
}

/** Every file of the home and of the named file, as bytes: equal when nothing was written. */
async function snapshot(...files: string[]): Promise<string[]> {
  const home = (await readdir(world.path('home'), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !isLockFile(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
  return await Promise.all(
    [...home, ...files].toSorted().map(async (path) => `${path} ${(await readFile(path)).toString('base64')}`),
  )
}

/** Opens a keystore of the home. */
async function aliasesIn(...path: string[]): Promise<string[]> {
  const keys = await Keys.open(world.path(...path), new TextEncoder().encode('test'), { clock: Date.now })
  return keys.store.list().map(({ alias }) => alias)
}

async function identityKilledBefore(name: string): Promise<void> {
  const steps = identityRotationSteps(await world.home(), { channels: [], nowMs: Date.now() })
  await killedBefore(world, name, identityRotation, steps)
}

describe('the file with the next identity key, before a rotation begins', () => {
  it('is refused when it is an old copy, with --dry-run and without, and nothing is written', async () => {
    await copyFile(world.path('home', 'next-identity.keystore'), world.path('stale'))
    expect((await run('rotate', 'identity')).code).toBe(0)
    const before = await snapshot(world.path('stale'))
    for (const args of [
      ['rotate', 'identity'],
      ['rotate', 'head'],
      ['rotate', 'identity', '--dry-run'],
    ]) {
      const outcome = await run(...args, '--next-key-file', world.path('stale'))
      expect([codeOf(outcome), outcome.stdout]).toEqual([
        'CLI_TURN_UNREADY',
        expect.stringContaining('--next-key-file'),
      ])
    }
    expect(await snapshot(world.path('stale'))).toEqual(before)
    expect((await run('rotate', 'identity')).code).toBe(0)
  })

  it('is refused when it holds another key under the same name', async () => {
    const other = await Keys.create(world.path('other'), new TextEncoder().encode('test'), {
      clock: Date.now,
      scryptLogN: 4,
      keepPrevious: false,
    })
    await other.makeSigning('identity/2', 'identity')
    const before = await snapshot(world.path('other'))
    expect(codeOf(await run('rotate', 'identity', '--next-key-file', world.path('other')))).toBe('CLI_TURN_UNREADY')
    expect(await snapshot(world.path('other'))).toEqual(before)
  })
})

describe('a mistyped passphrase', () => {
  it('begins no rotation, and the error names the file: KEY_PASSPHRASE', async () => {
    await writeFile(world.path('wrong'), 'wrong\n', { mode: 0o600 })
    const before = await snapshot()
    const home = await run('--passphrase-file', world.path('wrong'), 'rotate', 'content')
    expect([codeOf(home), home.stdout]).toEqual(['KEY_PASSPHRASE', expect.stringMatching(/home.keystore/)])
    const next = await run('rotate', 'identity', '--next-passphrase-file', world.path('wrong'))
    expect([codeOf(next), next.stdout]).toEqual(['KEY_PASSPHRASE', expect.stringContaining('next-identity.keystore')])
    expect(await snapshot()).toEqual(before)
    expect((await run('emergency', 'rotate-now', '--dry-run')).code).toBe(0)
  })
})

describe('keyturn rotate --abandon', () => {
  it('gives up a rotation that has put nothing in force; others can start again', async () => {
    await identityKilledBefore('keys')
    const refused = await run('rotate', 'content')
    expect([codeOf(refused), refused.stdout]).toEqual(['CLI_TURN_PENDING', expect.stringContaining('--abandon')])
    expect(dataOf(await run('rotate', 'identity', '--abandon', '--dry-run'))).toMatchObject({
      abandoned: 'identity',
      dry_run: true,
    })
    expect(await readdir(world.path('home', 'journals'))).toHaveLength(1)
    expect(dataOf(await run('rotate', 'identity', '--abandon'))).toMatchObject({
      abandoned: 'identity',
      done: ['plan'],
    })
    expect((await run('rotate', 'content')).code).toBe(0)
    expect(codeOf(await run('rotate', 'identity', '--abandon'))).toBe('CLI_TURN_UNREADY')
  })

  it('takes the promised key out of the keystore again, of both generations', async () => {
    await identityKilledBefore('identity-append')
    expect(await aliasesIn('home', 'keystore')).toContain('identity/2')
    expect((await run('rotate', 'identity', '--abandon')).code).toBe(0)
    await copyFile(world.path('home', 'keystore.previous'), world.path('earlier'))
    expect(await aliasesIn('home', 'keystore')).not.toContain('identity/2')
    expect(await aliasesIn('earlier')).not.toContain('identity/2')
    expect(await readdir(world.path('home', 'roles'))).toEqual(['1.json'])
    expect((await run('rotate', 'identity')).code).toBe(0)
  })

  it('refuses once the rotation is in the log: CLI_TURN_PENDING', async () => {
    await identityKilledBefore('identity-activate')
    expect(codeOf(await run('rotate', 'identity', '--abandon'))).toBe('CLI_TURN_PENDING')
    expect(await readdir(world.path('home', 'journals'))).toEqual(['identity.json'])
  })
})
