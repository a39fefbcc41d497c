import { readdir, rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

function run(...args: readonly string[]): Promise<Outcome> {
  return keyturn([
    ...args,
    '--home',
    world.path('home'),
    '--passphrase-file',
    world.path('passphrase'),
    '--json',
    '--yes',
  ])
}

/** In this process: quicker. */
function quick(...args: readonly string[]): Promise<Answer> {
  return command(world, args)
}

function done({ error, data }: Answer): Record<string, unknown> {
  expect(error).toBeUndefined()
  return data
}

describe('keyturn emergency freeze', () => {
  it('stops everything that signs or publishes a release, until it is lifted', async () => {
    await world.startServer()
    await world.release()
    dataOf(await run('emergency', 'freeze', '--duration', '1h', '--reason', 'laptop lost'))
    for (const command of [
      ['sign'],
      ['head'],
      ['publish', '--server', world.url],
      ['rollback', '2026.01.01-1'],
      ['rollout', '--percent', '10'],
    ]) {
      const outcome = await run('release', ...command)
      expect([command[0], codeOf(outcome)]).toEqual([command[0], 'KEL_FROZEN'])
      expect(outcome.code).toBe(4)
    }
    const doctor = JSON.parse((await run('doctor', '--offline')).stdout) as {
      data: { findings: { check: string; level: string; mend: string }[] }
    }
    expect(doctor.data.findings).toContainEqual(
      expect.objectContaining({ check: 'freeze', level: 'warning', mend: 'keyturn emergency unfreeze' }),
    )
    dataOf(await run('emergency', 'unfreeze'))
    dataOf(await run('release', 'sign'))
  })

  it('stops rotations on schedule and transport keys as well; identity and revocations stay open', async () => {
    await world.release()
    done(await quick('noise', 'publish'))
    done(await quick('roles', 'propose', '--days', '90'))
    done(await quick('emergency', 'freeze', '--duration', '7d'))
    const before = (await readdir(world.path('home'), { recursive: true })).toSorted()
    const refused = [
      ['rotate', 'content', '--local'],
      ['rotate', 'release', '--local'],
      ['rotate', 'head', '--local'],
      ['rotate', 'transport'],
      ['rotate', 'all', '--due', '--local'],
      ['roles', 'seal', '--local'],
      ['noise', 'publish'],
      ['noise', 'rotate', '--now'],
      ['noise', 'publish', '--request', 'r', '--answer', 'a'],
      ['noise', 'sign-request', '--sign', world.path('passphrase'), '--out', world.path('answer')],
    ]
    for (const args of refused) {
      const outcome = await quick(...args)
      expect([args.join(' '), outcome.code, outcome.error.code]).toEqual([args.join(' '), 4, 'KEL_FROZEN'])
    }
    expect((await readdir(world.path('home'), { recursive: true })).toSorted()).toEqual(before)
    done(await quick('rotate', 'content', '--local', '--dry-run'))
    done(await quick('noise', 'revoke', 'server', '--reason', 'lost'))
    done(await quick('rotate', 'release', '--revoke', '--local'))
    done(await quick('rotate', 'identity', '--local'))
    done(await quick('emergency', 'rotate-now', '--reason', 'laptop lost'))
    done(await quick('emergency', 'unfreeze'))
    done(await quick('rotate', 'content', '--local'))
  })

  it('a revocation under it leaves an interrupted rotation unfinished', async () => {
    done(await quick('noise', 'publish'))
    await writeFile(
      world.path('home', 'transport', 'hand-over.json'),
      JSON.stringify({ version: 1, servers: ['http://127.0.0.1:9'] }),
    )
    expect((await quick('noise', 'rotate')).code).toBe(3)
    await rm(world.path('home', 'transport', 'hand-over.json'))
    done(await quick('emergency', 'freeze'))
    expect((await quick('noise', 'rotate')).error.code).toBe('KEL_FROZEN')
    const { keys } = done(await quick('noise', 'revoke', 'server', '--replace')) as unknown as {
      keys: { device: string; state: string }[]
    }
    expect(keys.map(({ device, state }) => `${device}: ${state}`)).toEqual(['server: revoked', 'server-v2: active'])
    expect(await readdir(world.path('home', 'journals'))).toEqual([])
  })
})
