// A product with several channels: a rotation signs again what each of them offers, or it could not be published.
import { cpSync } from 'node:fs'
import { createEngine } from '@keyturn/install-engine'
import { trustPin } from '@keyturn/publisher/release'
import { identityRotation, identityRotationSteps, readRotation, runRotationSteps } from '@keyturn/publisher/rotation'
import { checkServerFolder } from '@keyturn/release-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from '../support/command.ts'
import { World } from '../support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.connect()
})
afterEach(async () => {
  await world.remove()
})

async function done(...args: string[]): Promise<Record<string, unknown>> {
  const { ok, data, error } = await command(world, args)
  if (!ok) throw new Error(JSON.stringify(error))
  return data
}

/** Releases on stable and beta; beta rolls its second one out. */
async function twoChannels(): Promise<void> {
  await world.release()
  await done('release', 'promote', '--channel', 'stable', '--to', 'beta')
  await world.release('changed')
  await done('release', 'promote', '--channel', 'stable', '--to', 'beta')
  await done('release', 'rollout', '--channel', 'beta', '--percent', '10')
}

/** What a new player gets, who has every document to verify. */
async function installed(channel: string): Promise<unknown> {
  const engine = createEngine({
    folder: world.path(`player-${channel}-${Math.random()}`),
    server: `${world.url}/`,
    trust: await trustPin(await world.home()),
    product: 'test',
    channel,
    retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
  })
  return await engine.update()
}

async function everyoneInstalls(): Promise<void> {
  for (const channel of ['stable', 'beta'])
    expect(await installed(channel)).toMatchObject({ version: expect.any(String) })
}

describe('a product with two channels', () => {
  it.each(['release', 'head'])('keyturn rotate %s signs what both offer', async (name) => {
    await twoChannels()
    const { data } = await command(world, ['rotate', name, '--dry-run'])
    expect(JSON.stringify(data['overlaps'])).toContain('of channel beta')
    await done('rotate', name)
    await everyoneInstalls()
    await done('rotate', name, '--revoke')
    await everyoneInstalls()
  })

  it('keyturn roles seal signs what both offer', async () => {
    await twoChannels()
    await done('roles', 'propose', '--add-release', 'new', '--remove-release', 'release/1')
    await done('roles', 'seal')
    await everyoneInstalls()
  })

  it('goes on with a server whose disk was restored from before two rotations', async () => {
    await twoChannels()
    await world.stopServer()
    cpSync(world.path('server'), world.path('saved'), { recursive: true })
    await world.connect()
    await done('rotate', 'release', '--revoke')
    await done('rotate', 'head', '--revoke')
    await world.stopServer()
    await world.connect(Date.now, false, { dataDir: world.path('saved') })
    await done('release', 'renew', '--all')
    await everyoneInstalls()
  })

  it('finishes a rotation that was begun for one of them', async () => {
    await twoChannels()
    const home = await world.home()
    const steps = identityRotationSteps(home, { channels: ['stable'], client: world.client, nowMs: Date.now() })
    await runRotationSteps(identityRotation, steps, {
      folder: home.paths.journals,
      nowMs: Date.now(),
      stopAfter: 'sign',
    })
    expect((await readRotation(home.paths.journals, identityRotation))?.state.terms?.channels).toEqual(['stable'])
    await done('rotate', 'release')
    await everyoneInstalls()
  })
})

it('rotates before anything is released, and the folder of the server is whole afterwards', async () => {
  await done('rotate', 'release')
  await world.release()
  await world.stopServer()
  expect(await checkServerFolder(world.path('server'), { deep: false })).toEqual([])
})
