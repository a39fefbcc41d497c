import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HomeSession } from '@keyturn/publisher'
import { diagnose } from '@keyturn/publisher/health'
import { readIdentityLog, readReleases, rolesInForce } from '@keyturn/publisher/records'
import {
  contentRotation,
  contentRotationSteps,
  identityRotation,
  identityRotationSteps,
  planContentRotation,
  readRotation,
  runRotationSteps,
} from '@keyturn/publisher/rotation'
import type { ContentState, IdentityState, Rotation, RotationStep, RunOptions } from '@keyturn/publisher/rotation'
import { World } from '../support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

class Killed extends Error {}

type Steps<State> = (home: HomeSession) => Promise<RotationStep<State>[]>

/**
 * Runs a rotation to its end through processes that know nothing of each other: every step is killed after its effect
 * and before the journal knows, then repeated by the next process, which is killed in its turn before the step that
 * follows.
 */
async function killedAtEveryStep<State>(rotation: Rotation<State>, steps: Steps<State>): Promise<number> {
  const process = async (hooks: Pick<RunOptions<State>, 'afterEffect' | 'onStep'>): Promise<boolean> => {
    const home = await world.home()
    const options: RunOptions<State> = { folder: home.paths.journals, nowMs: Date.now(), ...hooks }
    return await runRotationSteps(rotation, await steps(home), options).then(
      () => true,
      (error: unknown) => {
        if (error instanceof Killed) return false
        throw error
      },
    )
  }
  for (let kills = 0; ; kills += 2) {
    expect(
      await process({
        afterEffect: () => {
          throw new Killed()
        },
      }),
    ).toBe(false)
    let begun = 0
    if (
      await process({
        onStep: () => {
          if (begun++ > 0) throw new Killed()
        },
      })
    )
      return kills + 1
  }
}

describe('contentRotationSteps()', () => {
  it('reaches one end when it is killed at every step, and a launcher updates to it', async () => {
    const client = await world.startServer()
    await world.release()
    const engine = await world.engine()
    await engine.update()
    const steps: Steps<ContentState> = async (home) => {
      const options = { channel: 'stable', client, nowMs: Date.now(), signal: world.signal }
      return contentRotationSteps(
        home,
        await planContentRotation(home, options, (await readRotation(home.paths.journals, contentRotation))?.state),
        options,
      )
    }
    expect(await killedAtEveryStep(contentRotation, steps)).toBeGreaterThan(8)
    const home = await world.home()
    expect(home.description.contentKeys.map(({ keyId, status }) => [keyId, status])).toEqual([
      [1, 'retired'],
      [2, 'active'],
    ])
    expect(home.description.slots).toEqual([1, 2])
    expect(await readReleases(home.paths, 'stable')).toHaveLength(2)
    expect(await readdir(home.paths.journals)).toEqual([])
    const findings = await diagnose(home, { nowMs: Date.now(), deep: true, client, signal: world.signal })
    expect(findings.filter(({ level }) => level === 'error')).toEqual([])
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: expect.stringMatching(/-2$/) })
  })

  it('tells beforehand what a player will download: far less than the archives', async () => {
    const client = await world.startServer()
    await world.source()
    await writeFile(world.path('source', 'data', 'large.bin'), randomBytes(3_000_000))
    const { manifest } = await world.release()
    const engine = await world.engine()
    await engine.update()
    const home = await world.home()
    const options = { channel: 'stable', client, nowMs: Date.now(), signal: world.signal }
    const plan = await planContentRotation(home, options)
    await runRotationSteps(contentRotation, contentRotationSteps(home, plan, options), {
      folder: home.paths.journals,
      nowMs: Date.now(),
    })
    const { downloadedBytes } = await engine.update()
    const loose = manifest.files.filter(({ keyId }) => keyId === undefined).reduce((sum, { size }) => sum + size, 0)
    expect(downloadedBytes - loose).toBeLessThanOrEqual(plan.downloadBytesAtMost)
    expect(plan.downloadBytesAtMost).toBeLessThan(200_000)
  })

  it('makes a key and nothing else when nothing is released yet', async () => {
    const home = await world.home()
    const options = { channel: 'stable', nowMs: Date.now(), signal: world.signal }
    const plan = await planContentRotation(home, options)
    expect(plan).toMatchObject({ from: 1, to: 2, slot: 2, release: undefined, downloadBytesAtMost: 0 })
    await runRotationSteps(contentRotation, contentRotationSteps(home, plan, options), {
      folder: home.paths.journals,
      nowMs: Date.now(),
    })
    expect((await world.home()).description.contentKeys).toHaveLength(2)
  })
})

describe('identityRotationSteps()', () => {
  it('reaches one end when it is killed at every step: one rotation, one role document, no download', async () => {
    const client = await world.startServer()
    await world.release()
    const engine = await world.engine()
    await engine.update()
    const steps: Steps<IdentityState> = async (home) =>
      identityRotationSteps(home, { channels: ['stable'], headKey: true, client, nowMs: Date.now() })
    expect(await killedAtEveryStep(identityRotation, steps)).toBeGreaterThan(7)
    const home = await world.home()
    const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
    expect(log.events.map(({ type }) => type)).toEqual(['icp', 'rot'])
    expect((await rolesInForce(home.paths, log.prefix)).document.version).toBe(2)
    expect(home.description).toMatchObject({
      identity: { alias: 'identity/2', nextAlias: 'identity/3' },
      aliases: { release: 'release/2', head: 'head/2' },
    })
    const findings = await diagnose(home, { nowMs: Date.now(), deep: false, client, signal: world.signal })
    expect(findings.filter(({ level }) => level === 'error')).toEqual([])
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date', downloadedBytes: 0 })
  })

  it('revokes what leaves when it was stolen, and keeps what is installed playable', async () => {
    const client = await world.startServer()
    await world.release()
    const engine = await world.engine()
    await engine.update()
    const home = await world.home()
    await runRotationSteps(
      identityRotation,
      identityRotationSteps(home, { channels: ['stable'], revoke: true, client, nowMs: Date.now() }),
      { folder: home.paths.journals, nowMs: Date.now() },
    )
    const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
    expect(document.revokedKeys).toHaveLength(1)
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date' })
    expect(await engine.status()).toMatchObject({ trust: 'current', rolesVersion: expect.any(Number) })
  })

  it('rotates again and again', async () => {
    for (let n = 0; n < 3; n += 1) {
      const home = await world.home()
      await runRotationSteps(identityRotation, identityRotationSteps(home, { channels: [], nowMs: Date.now() }), {
        folder: home.paths.journals,
        nowMs: Date.now(),
      })
    }
    const home = await world.home()
    expect((await readIdentityLog(home.paths, home.description.identity.prefix)).log.state.sn).toBe(3)
  })

  it('waits for an interrupted "id rotate": CLI_TURN_PENDING, and nothing is made', async () => {
    const home = await world.home()
    await mkdir(home.paths.journals, { recursive: true })
    const staged = {
      format: 'keyturn-turn',
      version: 1,
      turn: 'identity-key',
      started: '',
      done: ['identity-make'],
      facts: {},
    }
    await writeFile(join(home.paths.journals, 'identity-key.json'), JSON.stringify(staged))
    const turn = runRotationSteps(identityRotation, identityRotationSteps(home, { channels: [], nowMs: Date.now() }), {
      folder: home.paths.journals,
      nowMs: Date.now(),
    })
    await expect(turn).rejects.toMatchObject({ code: 'CLI_TURN_PENDING' })
    expect(await readRotation(home.paths.journals, identityRotation)).toBeUndefined()
    expect((await readIdentityLog(home.paths, home.description.identity.prefix)).log.state.sn).toBe(0)
  })

  it('wants the file with the next key: CLI_TURN_UNREADY', async () => {
    await rename(world.path('home', 'next-identity.keystore'), world.path('elsewhere'))
    const home = await world.home()
    await expect(
      runRotationSteps(identityRotation, identityRotationSteps(home, { channels: [], nowMs: Date.now() }), {
        folder: home.paths.journals,
        nowMs: Date.now(),
      }),
    ).rejects.toMatchObject({ code: 'CLI_TURN_UNREADY' })
  })
})
