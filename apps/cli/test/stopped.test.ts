import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { exitCodes } from '@keyturn/primitives'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

const MIB = 1024 * 1024

let world: World
let tokenBefore: string | undefined

beforeAll(async () => {
  world = await World.create()
  await world.startServer()
  await (await world.home()).update({ server: world.url })
  tokenBefore = process.env['KEYTURN_TOKEN']
  process.env['KEYTURN_TOKEN'] = world.token
  await mkdir(world.path('game/client/data'), { recursive: true })
  await writeFile(world.path('game/client/data/big.bin'), randomBytes(96 * MIB))
  const project = { schema: 1, product: 'test', source: 'client' }
  await writeFile(world.path('game/keyturn.json'), JSON.stringify(project))
  await writeFile(world.path('home/large'), randomBytes(64 * MIB))
})
afterAll(async () => {
  if (tokenBefore === undefined) delete process.env['KEYTURN_TOKEN']
  else process.env['KEYTURN_TOKEN'] = tokenBefore
  await world.remove()
})

/** Runs the real program, and presses Ctrl-C once `when` says so. */
async function stopped(args: readonly string[], when: (child: ChildProcess) => Promise<void>): Promise<Outcome> {
  return await keyturn(
    ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--yes', ...args],
    {
      env: { KEYTURN_TOKEN: world.token },
      cwd: world.path('game'),
      onSpawn: (child) => void when(child).then(() => child.kill('SIGINT')),
    },
  )
}

/** Once the program reports the first progress of a piece of work. */
const atWork =
  (label: string) =>
  (child: ChildProcess): Promise<void> =>
    new Promise((resolve) => {
      child.stderr?.on('data', (text: string) => {
        if (text.includes(`"label":"${label}"`)) resolve()
      })
    })

/** Once something that is being written is there. */
const onceThere =
  (look: () => boolean) =>
  async (child: ChildProcess): Promise<void> => {
    while (!look() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5))
  }

const INTERRUPTED = exitCodes.interrupted

describe('Ctrl-C', () => {
  it('in "pack tree" leaves no half of a tree, and the same command works then', async () => {
    const args = ['pack', 'tree', '--output', world.path('tree'), '--events', '--level', '19']
    const { code, stderr } = await stopped(args, atWork('packing'))
    expect({ code, stderr }).toMatchObject({ code: INTERRUPTED })
    expect(stderr).toContain('Nothing was kept of the new tree: run "keyturn pack tree" again')
    expect(existsSync(world.path('tree'))).toBe(false)
  })

  it('in "ship" offers nothing, leaves no draft, and the same command works then', async () => {
    const { code, stderr } = await stopped(['ship', '--events', '--level', '19'], atWork('packing'))
    expect({ code, stderr }).toMatchObject({ code: INTERRUPTED })
    expect(stderr).toContain('run "keyturn ship" again')
    expect((await command(world, ['release', 'list'])).data['releases']).toEqual([])
    const again = await command(world, ['ship', '--project', world.path('game/keyturn.json'), '--level', '1'])
    expect(again).toMatchObject({ code: 0 })
  })

  it('in "backup" writes no backup and keeps the one before', async () => {
    const file = world.path('home.backup')
    await writeFile(file, 'the one before')
    const being = (): boolean => readdirSync(world.folder).some((name) => name.startsWith('.home.backup'))
    const { code, stderr } = await stopped(['backup', file, '--force'], onceThere(being))
    expect({ code, stderr }).toMatchObject({ code: INTERRUPTED })
    expect(stderr).toContain('No backup was written; an earlier file is as it was')
    expect(await readFile(file, 'utf8')).toBe('the one before')
    expect(being()).toBe(false)
    expect(await command(world, ['backup', file, '--force'])).toMatchObject({ code: 0 })
  })

  it('in "restore" makes no home, and the same command works then', async () => {
    const home = world.path('other')
    const args = ['restore', world.path('home.backup'), '--home', home]
    const being = (): boolean => readdirSync(world.folder).some((name) => name.startsWith('.other'))
    const { code, stderr } = await stopped(args, onceThere(being))
    expect({ code, stderr }).toMatchObject({ code: INTERRUPTED })
    expect(stderr).toContain('Nothing was restored: run "keyturn restore" again')
    expect(existsSync(home)).toBe(false)
    expect(being()).toBe(false)
    expect(await command(world, args, { home })).toMatchObject({ code: 0 })
  })
})
