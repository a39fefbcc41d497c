import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { releaseIdentity } from '@keyturn/publisher/identity'
import { rolesInForce } from '@keyturn/publisher/records'
import {
  contentRotation,
  contentRotationSteps,
  identityRotation,
  identityRotationSteps,
  keyRotation,
  keyRotationSteps,
  planContentRotation,
  readRotation,
  runRotationSteps,
  standingSeals,
} from '@keyturn/publisher/rotation'
import type { IdentityRotationOptions } from '@keyturn/publisher/rotation'
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

async function identityKilledBefore(name: string, options: Partial<IdentityRotationOptions> = {}): Promise<void> {
  await killedBefore(
    world,
    name,
    identityRotation,
    identityRotationSteps(await world.home(), { channels: ['stable'], nowMs: Date.now(), ...options }),
  )
}

async function revokedKeys(): Promise<readonly string[]> {
  const home = await world.home()
  return (await rolesInForce(home.paths, home.description.identity.prefix)).document.revokedKeys
}

/** The keys of a role in the document in force. */
async function roleKeys(role: 'release' | 'head'): Promise<readonly string[]> {
  const home = await world.home()
  return (await rolesInForce(home.paths, home.description.identity.prefix)).document.roles[role].keys
}

const pendingIdentity = async (): Promise<unknown> =>
  await readRotation(world.path('home', 'journals'), identityRotation)

describe('a command that finds another rotation interrupted', () => {
  it('rotate release --revoke after rotate head: finishes that one, then rotates and revokes the release key', async () => {
    await world.release()
    const [stolen] = await roleKeys('release')
    await identityKilledBefore('sign', { releaseKey: false, headKey: true })
    expect(await command(world, ['rotate', 'release', '--revoke', '--local', '--dry-run'])).toMatchObject({
      code: 0,
      data: { finished: 'identity with head key' },
    })
    expect(await command(world, ['rotate', 'release', '--revoke', '--local'])).toMatchObject({
      code: 0,
      data: {
        finished: 'identity with head key',
        resumed: false,
        release_alias: 'release/2',
        head_alias: 'head/2',
        sn: 2,
      },
    })
    expect(await revokedKeys()).toContain(stolen)
    expect(await pendingIdentity()).toBeUndefined()
    expect(await command(world, ['release', 'verify'])).toMatchObject({ data: { outcome: 'accepted' } })
  })

  it('rotate release --revoke behind rotate release: the key that was in use counts for nothing', async () => {
    await world.release()
    const [stolen] = await roleKeys('release')
    await identityKilledBefore('identity-append')
    expect(await command(world, ['rotate', 'release', '--revoke', '--local'])).toMatchObject({
      code: 0,
      data: { release_alias: 'release/3' },
    })
    expect(await revokedKeys()).toHaveLength(2)
    expect(await revokedKeys()).toContain(stolen)
    expect(await command(world, ['release', 'verify'])).toMatchObject({ data: { outcome: 'accepted' } })
  })

  it('and is killed between the two: the stolen key is revoked all the same', async () => {
    const [stolen] = await roleKeys('release')
    await runRotationSteps(
      identityRotation,
      identityRotationSteps(await world.home(), { channels: [], nowMs: Date.now() }),
      {
        folder: world.path('home', 'journals'),
        nowMs: Date.now(),
        followedBy: async () => ({ alsoRevoke: [String(stolen)] }),
      },
    )
    expect(await command(world, ['rotate', 'identity', '--local'])).toMatchObject({ code: 0, data: { sn: 2 } })
    expect(await revokedKeys()).toEqual([stolen])
  })

  it('rotate identity --roles-days and --channel are not dropped either; without flags one rotation is finished and no more', async () => {
    await identityKilledBefore('home')
    expect(await command(world, ['rotate', 'identity', '--roles-days', '30', '--local'])).toMatchObject({
      code: 0,
      data: { sn: 2, finished: 'identity with release key' },
    })
    await identityKilledBefore('home')
    expect(await command(world, ['rotate', 'release', '--local'])).toMatchObject({
      code: 0,
      data: { sn: 3, resumed: true },
    })
  })

  it('rotate content --full after rotate content: every file is encrypted again', async () => {
    await world.release()
    const home = await world.home()
    const options = { channel: 'stable', nowMs: Date.now(), signal: world.signal }
    await killedBefore(
      world,
      'sign',
      contentRotation,
      contentRotationSteps(home, await planContentRotation(home, options), options),
    )
    expect(await command(world, ['rotate', 'content', '--full', '--local', '--dry-run'])).toMatchObject({
      data: { full: true, finished: 'content key 1 to 2' },
    })
    expect(await command(world, ['rotate', 'content', '--full', '--local'])).toMatchObject({
      code: 0,
      data: { finished: 'content key 1 to 2', from_key_id: 2, to_key_id: 3, resumed: false },
    })
    expect((await world.home()).description.contentKeys.map(({ status }) => status)).toEqual([
      'retired',
      'retired',
      'active',
    ])
  })

  it('rotate content behind rotate content --full: is finished, which is more than was asked', async () => {
    await world.release()
    const home = await world.home()
    const options = { channel: 'stable', nowMs: Date.now(), signal: world.signal, full: true }
    await killedBefore(
      world,
      'archives',
      contentRotation,
      contentRotationSteps(home, await planContentRotation(home, options), options),
    )
    const answer = await command(world, ['rotate', 'content', '--local'])
    expect(answer).toMatchObject({ code: 0, data: { to_key_id: 2, resumed: true } })
    expect(answer.data['finished']).toBeUndefined()
  })

  it('id rotate --reason behind id rotate: two rotations, the second says why', async () => {
    const identity = releaseIdentity(await world.home())
    const seals = await standingSeals(identity)
    await killedBefore(
      world,
      'identity-append',
      keyRotation({ journal: 'identity-key' }),
      keyRotationSteps(identity, {
        terms: () => ({ seals }),
        collect: async ({ message }) => message,
        nowMs: Date.now(),
      }),
    )
    const answer = await command(world, ['id', 'rotate', '--reason', 'laptop lost'])
    expect(answer).toMatchObject({
      code: 0,
      data: { sn: 2, finished: 'rotation of the identity alone', reason_sealed: expect.any(String) },
    })
    expect((await command(world, ['emergency', 'report'])).data['rotated']).toMatchObject({
      sn: 2,
      reason: 'laptop lost',
    })
  })

  it('id rotate --reason, killed and run again with the same reason: one rotation', async () => {
    const answer = await command(world, ['id', 'rotate', '--reason', 'first'])
    const identity = releaseIdentity(await world.home())
    const seals = [...(await standingSeals(identity)), { d: String(answer.data['reason_sealed']) }]
    await killedBefore(
      world,
      'identity-append',
      keyRotation({ journal: 'identity-key' }),
      keyRotationSteps(identity, {
        terms: () => ({ seals }),
        collect: async ({ message }) => message,
        nowMs: Date.now(),
      }),
    )
    expect(await command(world, ['id', 'rotate', '--reason', 'first'])).toMatchObject({
      code: 0,
      data: { sn: 2, resumed: true },
    })
  })
})
