import { cpSync, existsSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { releaseIdentity } from '@keyturn/publisher/identity'
import {
  contentRotation,
  contentRotationSteps,
  identityRotation,
  identityRotationSteps,
  keyRotation,
  keyRotationSteps,
  planContentRotation,
  standingSeals,
} from '@keyturn/publisher/rotation'
import type { KeyRotationState, RotationStep } from '@keyturn/publisher/rotation'
import { command } from '../support/command.ts'
import { killedBefore } from '../support/killed-rotation.ts'
import { World } from '../support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

async function refusals(...extra: readonly (readonly string[])[]): Promise<unknown[]> {
  const found: unknown[] = []
  const releasing = [
    ['prepare', world.path('source')],
    ['sign'],
    ['head'],
    ['publish', '--server', world.url],
    ['rollout', '--percent', '10'],
    ['halt'],
    ['rollback', '2026.01.01-1'],
    ['promote', '--to', 'beta'],
    ['export-static', world.path('public')],
  ]
  for (const args of [
    ...releasing.map((words) => ['release', ...words]),
    ['roles', 'propose', '--days', '90'],
    ...extra,
  ]) {
    const { code, error } = await command(world, args)
    found.push([args.slice(0, 2).join(' '), code, error?.code, error?.hint])
  }
  return found
}

describe('a rotation that is half done', () => {
  it('of the content key: nothing is released until it is finished, and then everything fits', async () => {
    const client = await world.startServer()
    await world.release()
    const home = await world.home()
    const options = { channel: 'stable', client, nowMs: Date.now(), signal: world.signal }
    await killedBefore(
      world,
      'sign',
      contentRotation,
      contentRotationSteps(home, await planContentRotation(home, options), options),
    )
    for (const [what, code, error, hint] of (await refusals(
      ['rotate', 'identity'],
      ['roles', 'seal', '--dry-run'],
    )) as [string, number, string, string][]) {
      // Without a proposal "roles seal" has nothing to do, and says that first.
      if (what === 'roles seal') expect(error).toBe('CLI_TURN_UNREADY')
      else
        expect([what, code, error, hint]).toEqual([
          what,
          6,
          'CLI_TURN_PENDING',
          expect.stringContaining('"keyturn rotate content"'),
        ])
    }
    world.useToken(world.token)
    expect(await command(world, ['rotate', 'content', '--server', world.url])).toMatchObject({
      code: 0,
      data: { resumed: true, published: true },
    })
    expect(await command(world, ['release', 'head'])).toMatchObject({ code: 0 })
  })

  it('of the identity: the same, also between the log and the names of the keys', async () => {
    await world.release()
    await killedBefore(
      world,
      'home',
      identityRotation,
      identityRotationSteps(await world.home(), { channels: ['stable'], nowMs: Date.now() }),
    )
    for (const [what, code, error, hint] of (await refusals(
      ['rotate', 'content'],
      ['id', 'rotate'],
      ['roles', 'seal'],
    )) as [string, number, string, string][]) {
      expect([what, code, error, hint]).toEqual([
        what,
        6,
        'CLI_TURN_PENDING',
        expect.stringContaining('"keyturn rotate identity"'),
      ])
    }
    expect(await command(world, ['rotate', 'identity', '--local'])).toMatchObject({
      code: 0,
      data: { resumed: true, sn: 1 },
    })
    expect(await command(world, ['release', 'verify'])).toMatchObject({ data: { outcome: 'accepted' } })
  })

  it('roles seal --dry-run takes no lock and leaves none', async () => {
    expect(await command(world, ['roles', 'propose', '--revoke', 'release/1', '--add-release', 'new'])).toMatchObject({
      code: 0,
    })
    expect(await command(world, ['roles', 'seal', '--dry-run'])).toMatchObject({
      code: 0,
      data: { steps: expect.any(Array) },
    })
    expect(existsSync(world.path('home', 'lock'))).toBe(false)
    expect(await command(world, ['roles', 'seal'])).toMatchObject({ code: 0, data: { roles_version: 2 } })
    expect(await command(world, ['roles', 'show'])).toMatchObject({ data: { version: 2, in_force: true } })
    expect((await command(world, ['roles', 'show'])).data['proposed']).toBeUndefined()
  })

  it('id rotate --abandon gives a rotation up that is not in the log, and no other', async () => {
    const before = (await command(world, ['id', 'show'])).data['state']
    expect(await command(world, ['id', 'rotate', '--abandon'])).toMatchObject({
      code: 2,
      error: { code: 'CLI_TURN_UNREADY' },
    })
    const steps = async (): Promise<readonly RotationStep<KeyRotationState>[]> => {
      const identity = releaseIdentity(await world.home())
      const seals = await standingSeals(identity)
      return keyRotationSteps(identity, {
        terms: () => ({ seals }),
        collect: async ({ message }) => message,
        nowMs: Date.now(),
      })
    }
    await killedBefore(world, 'identity-append', keyRotation({ journal: 'identity-key' }), await steps())
    expect(await command(world, ['rotate', 'identity'])).toMatchObject({
      code: 6,
      error: { code: 'CLI_TURN_PENDING', hint: expect.stringContaining('"keyturn id rotate --abandon"') },
    })
    expect(await command(world, ['id', 'rotate', '--abandon'])).toMatchObject({
      code: 0,
      data: { abandoned: 'identity-key' },
    })
    expect((await command(world, ['id', 'show'])).data['state']).toEqual(before)
    await killedBefore(world, 'identity-activate', keyRotation({ journal: 'identity-key' }), await steps())
    expect(await command(world, ['id', 'rotate', '--abandon'])).toMatchObject({
      code: 6,
      error: { code: 'CLI_TURN_PENDING' },
    })
    expect(await command(world, ['id', 'rotate'])).toMatchObject({ code: 0, data: { sn: 1, resumed: true } })
  })
})

describe('keyturn release offer', () => {
  it('offers no release that only a key from before a rotation has signed: CLI_TURN_UNREADY names the command', async () => {
    const {
      manifest: { version },
      tree,
    } = await world.release()
    const prepared = await command(world, ['release', 'prepare', tree])
    expect(prepared).toMatchObject({ code: 0 })
    const second = prepared.data['version']
    expect(await command(world, ['release', 'sign', String(second)])).toMatchObject({ code: 0 })
    expect(await command(world, ['rotate', 'release', '--local'])).toMatchObject({ code: 0 })
    expect(await command(world, ['release', 'offer', String(second)])).toMatchObject({
      code: 2,
      error: { code: 'CLI_TURN_UNREADY', hint: `Run "keyturn release sign ${String(second)}"` },
    })
    expect(await command(world, ['release', 'offer', version])).toMatchObject({ code: 0 })
    await command(world, ['release', 'sign', String(second)])
    expect(await command(world, ['release', 'offer', String(second)])).toMatchObject({
      code: 0,
      data: { version: second },
    })
  })
})

describe('keyturn release', () => {
  it('takes no tree that another home packed: BUILD_FOREIGN_ARCHIVE', async () => {
    const { tree } = await world.release()
    expect(await command(world, ['init', '--product', 'test'], { home: world.path('other') })).toMatchObject({
      code: 0,
    })
    const elsewhere = await command(world, ['release', 'prepare', tree], { home: world.path('other') })
    expect(elsewhere).toMatchObject({
      code: 4,
      error: { code: 'BUILD_FOREIGN_ARCHIVE', message: expect.stringMatching(/pack\/\w+\.m2p/) },
    })
    // The tree of a release that was prepared here is swapped for one of the other home.
    await command(
      world,
      ['pack', 'tree', '--input', world.path('source'), '--output', world.path('theirs'), '--level', '1'],
      { home: world.path('other') },
    )
    cpSync(world.path('theirs', 'pack'), `${tree}/pack`, { recursive: true })
    for (const args of [
      ['release', 'sign'],
      ['release', 'head'],
    ])
      expect((await command(world, args)).error?.code).toBe('BUILD_FOREIGN_ARCHIVE')
  })
})
