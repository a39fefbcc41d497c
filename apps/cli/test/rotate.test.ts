import { readFile, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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

function run(...args: string[]): Promise<Outcome> {
  return keyturn(
    ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes', ...args],
    { cwd: world.folder },
  )
}

/** Makes the keys of the home look as old as they are in the policy's eyes. */
async function age(policy: Record<string, number>): Promise<void> {
  const path = world.path('home', 'home.json')
  const home = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
  await writeFile(path, JSON.stringify({ ...home, policy }))
}

describe('keyturn rotate', () => {
  it('rotates what is due with "all --due", identity and day-to-day keys in one rotation', async () => {
    expect(dataOf(await run('rotate', 'all', '--due'))).toMatchObject({ turned: [] })
    expect(codeOf(await run('rotate', 'all'))).toBe('CLI_USAGE')
    await age({ identity: 0, release: 0, head: 0, content: 0 })
    expect((await run('status', '--check')).code).toBe(1)
    expect(dataOf(await run('rotate', 'all', '--due', '--dry-run'))).toMatchObject({
      turned: ['identity', 'content'],
      dry_run: true,
    })
    expect(dataOf(await run('rotate', 'all', '--due'))).toMatchObject({ turned: ['identity', 'content'] })
    await age({})
    expect((await run('status', '--check')).code).toBe(0)
    const { description } = await world.home()
    expect(description).toMatchObject({
      identity: { alias: 'identity/2' },
      aliases: { release: 'release/2', head: 'head/2' },
    })
    expect(description.contentKeys).toHaveLength(2)
    expect((await run('doctor', '--offline')).code).toBe(0)
  })

  it('shows the plan with --dry-run and changes nothing', async () => {
    const before = await readFile(world.path('home', 'home.json'), 'utf8')
    expect(dataOf(await run('rotate', 'content', '--dry-run'))['steps']).toHaveLength(3)
    expect(dataOf(await run('rotate', 'identity', '--dry-run'))['steps']).toHaveLength(12)
    expect(await readFile(world.path('home', 'home.json'), 'utf8')).toBe(before)
  })

  it('finishes an interrupted rotation before it begins another: CLI_TURN_PENDING', async () => {
    await writeFile(
      world.path('home', 'journals', 'identity.json'),
      JSON.stringify({ format: 'keyturn-turn', version: 1, turn: 'identity', started: '', done: [], facts: {} }),
    )
    const outcome = await run('rotate', 'content')
    expect([outcome.code, codeOf(outcome)]).toEqual([6, 'CLI_TURN_PENDING'])
    expect((await run('rotate', 'identity')).code).toBe(0)
    expect((await run('rotate', 'content')).code).toBe(0)
  })

  it('lets one command at a time change a home: exit 6', async () => {
    const first = run('rotate', 'content')
    const second = run('rotate', 'content')
    const codes = [(await first).code, (await second).code].toSorted()
    expect(codes[0]).toBe(0)
    expect([0, 6]).toContain(codes[1])
  })
})
