import { crashAt, endCrash } from '../support/crash-disk.ts'
import { chmodSync, cpSync, readdirSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command } from '../support/command.ts'
import type { Answer } from '../support/command.ts'
import { World } from '../support/world.ts'

let world: World
const now = Date.now()

beforeAll(async () => {
  world = await World.create()
  await world.release()
  expect(await command(world, ['noise', 'publish'])).toMatchObject({ code: 0 })
})
afterAll(async () => {
  await world.remove()
})

let copies = 0

/** A fresh copy of a home. */
function copy(template = world.path('home')): string {
  const path = world.path(`copy-${copies++}`)
  cpSync(template, path, { recursive: true })
  chmodSync(path, 0o700)
  return path
}

/** The locks of a killed process; the program itself takes them over once their holder is dead. */
function dropLocks(home: string): void {
  for (const name of readdirSync(home, { recursive: true, encoding: 'utf8' }))
    if (/(^|[./])lock$/.test(name)) rmSync(`${home}/${name}`, { force: true })
}

/** What a turn comes to: numbers of keys and places, no bytes that chance decides. */
async function endOf(home: string, nowMs: number): Promise<unknown> {
  const ask = (...args: string[]): Promise<Answer> => command(world, args, { home, nowMs })
  const [status, releases, roles, doctor] = [
    await ask('status'),
    await ask('release', 'list'),
    await ask('roles', 'show'),
    await ask('doctor', '--offline'),
  ]
  const items = status.data['items'] as { kind: string; id: string; name: string; state: string }[]
  return {
    pending: status.data['pending'],
    sn: status.data['sn'],
    roles: roles.data['version'],
    revoked: (roles.data['revoked_keys'] as string[]).length,
    keys: items
      .map(({ kind, id, name, state }) => [kind, id, kind === 'master' ? name : '', state].join(' '))
      .filter((line) => !line.startsWith('head-document')),
    releases: (releases.data['releases'] as { version: string }[]).map(({ version }) => version.slice(-2)),
    errors: (doctor.data['findings'] as { level: string; check: string; message: string }[]).filter(
      ({ level, check }) => level === 'error' && check !== 'due',
    ),
  }
}

/** How a command is killed. */
interface Killing {
  readonly nowMs: number
  /** At these writes alone; default: every one. */
  readonly only?: readonly number[]
  /** The home it begins with. */
  readonly template?: string
}

/** Kills the command at each of its writes to a journal: behind an effect that the journal does not know yet. */
async function killedAtEveryStep(args: readonly string[], { nowMs, only = [], template }: Killing): Promise<number> {
  const calm = copy(template)
  expect(await command(world, args, { home: calm, nowMs })).toMatchObject({ code: 0 })
  const wanted = await endOf(calm, nowMs)
  rmSync(calm, { recursive: true })
  for (let at = only[0] ?? 0; ; at += 1) {
    const home = copy(template)
    crashAt(at, /\/journals\/[a-z-]+\.json$/)
    await command(world, args, { home, nowMs }).catch(() => undefined)
    const fired = endCrash() > at
    dropLocks(home)
    if (fired) {
      const again = await command(world, args, { home, nowMs })
      expect([again.error, again.code], `${args.join(' ')}, killed at write ${at}`).toEqual([undefined, 0])
    }
    expect(await endOf(home, nowMs), `${args.join(' ')}, killed at write ${at}`).toEqual(wanted)
    rmSync(home, { recursive: true })
    if (!fired || at === only.at(-1)) return at
  }
}

// Hundreds of commands in a row: patient on a busy machine.
describe(
  'killed at every step and run again, a turn comes to the end it would have had',
  { timeout: 1_800_000 },
  () => {
    const year = now + 400 * 86_400_000
    it.each<[string, readonly string[], number, number]>([
      ['content', ['rotate', 'content', '--local'], now, 8],
      ['content --signing-key', ['rotate', 'content', '--signing-key', '--local'], now, 8],
      ['identity', ['rotate', 'identity', '--local'], now, 12],
      ['release', ['rotate', 'release', '--revoke', '--local'], now, 12],
      ['head', ['rotate', 'head', '--local'], now, 12],
      ['transport-identity', ['rotate', 'transport-identity', '--local'], now, 12],
      ['transport', ['rotate', 'transport', '--now'], now, 5],
      ['id rotate', ['id', 'rotate'], now, 7],
      ['all --due', ['rotate', 'all', '--due', '--local'], year, 25],
    ])('%s', async (_name, args, nowMs, steps) => {
      expect(await killedAtEveryStep(args, { nowMs })).toBeGreaterThanOrEqual(steps)
    })

    it('content --full, at the steps that are other ones', async () => {
      expect(await killedAtEveryStep(['rotate', 'content', '--full', '--local'], { nowMs: now, only: [3, 4] })).toBe(4)
    })

    it('vault, with records in one', async () => {
      const template = copy()
      await writeFile(world.path('secret'), 'a secret of CI')
      for (const args of [
        ['vault', 'init'],
        ['vault', 'seal', 'ci', 'token', world.path('secret')],
      ])
        expect(await command(world, args, { home: template })).toMatchObject({ code: 0 })
      expect(await killedAtEveryStep(['rotate', 'vault'], { nowMs: now, template })).toBeGreaterThanOrEqual(4)
    })
  },
)
