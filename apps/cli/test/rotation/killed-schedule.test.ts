import { crashAt, endCrash } from '../support/crash-disk.ts'
import { chmodSync, cpSync, readdirSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command } from '../support/command.ts'
import type { Answer } from '../support/command.ts'
import { World } from '../support/world.ts'

const HOUR_MS = 3_600_000
const nowMs = Math.floor(Date.now() / 1000) * 1000
const at = `${new Date(nowMs + HOUR_MS).toISOString().slice(0, 19)}Z`
const SCHEDULE = ['release', 'schedule', 'next', '--at', at, '--local']

let world: World
beforeAll(async () => {
  world = await World.create()
  await world.startServer()
  await world.release()
  const tree = world.path('tree')
  await world.source('the next one')
  for (const args of [
    ['pack', 'tree', '--input', world.path('source'), '--output', tree, '--level', '1'],
    ['release', 'prepare', tree, '--release', 'next'],
  ])
    expect(await command(world, args, { nowMs }), args.join(' ')).toMatchObject({ code: 0 })
})
afterAll(() => world.remove())

let copies = 0

/** A fresh copy of the home. */
function copy(): string {
  const path = world.path(`copy-${copies++}`)
  cpSync(world.path('home'), path, { recursive: true })
  chmodSync(path, 0o700)
  return path
}

/** The locks of a killed process; the program itself takes them over once their holder is dead. */
function dropLocks(home: string): void {
  for (const name of readdirSync(home, { recursive: true, encoding: 'utf8' }))
    if (/(^|[./])lock$/.test(name)) rmSync(`${home}/${name}`, { force: true })
}

/** What a schedule comes to: no bytes that chance decides. */
async function endOf(home: string): Promise<unknown> {
  const ask = (...args: string[]): Promise<Answer> => command(world, args, { home, nowMs })
  const [listed, releases, doctor] = [
    await ask('release', 'schedule', '--list'),
    await ask('release', 'list'),
    await ask('doctor', '--offline'),
  ]
  return {
    listed: listed.data,
    releases: (releases.data['releases'] as { version: string; state: string }[]).map(({ state }) => state),
    errors: (doctor.data['findings'] as { level: string; message: string }[])
      .filter(({ level }) => level === 'error')
      .map(({ message }) => message),
  }
}

/** Where the next killing is. */
const PLACES = /\/copy-\d+\/(?:home\.json|keystore|heads\/|releases\/|trees\/)/

/** One of so many changes is a kill point; all of them with `KEYTURN_CRASH_STEP=1`. */
const EVERY_NTH = Number(process.env['KEYTURN_CRASH_STEP'] ?? '3')

describe('release schedule', () => {
  it(
    'killed at every change of the home and run again comes to the end it would have had',
    { timeout: 1_800_000 },
    async () => {
      const calm = copy()
      crashAt(Number.POSITIVE_INFINITY, PLACES)
      const done = await command(world, SCHEDULE, { home: calm, nowMs })
      expect([done.error, done.code]).toEqual([undefined, 0])
      const changes = endCrash()
      const wanted = await endOf(calm)
      rmSync(calm, { recursive: true })
      expect(changes).toBeGreaterThan(5)
      for (let point = 0; point < changes; point += EVERY_NTH) {
        const home = copy()
        crashAt(point, PLACES)
        await command(world, SCHEDULE, { home, nowMs }).catch(() => undefined)
        endCrash()
        dropLocks(home)
        const again = await command(world, SCHEDULE, { home, nowMs })
        expect([again.error, again.code], `killed at change ${point} of ${changes}`).toEqual([undefined, 0])
        expect(await endOf(home), `killed at change ${point} of ${changes}`).toEqual(wanted)
        rmSync(home, { recursive: true })
      }
    },
  )
})
