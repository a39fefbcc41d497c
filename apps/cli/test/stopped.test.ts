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

beforeAll(async () => {
  world = await World.create()
  await world.connect()
  await mkdir(world.path('game/client/data'), { recursive: true })
  await writeFile(world.path('game/client/data/big.bin'), randomBytes(96 * MIB))
  const project = { schema: 1, product: 'test', source: 'client' }
  await writeFile(world.path('game/keyturn.json'), JSON.stringify(project))
  await writeFile(world.path('home/large'), randomBytes(64 * MIB))
})
afterAll(async () => {
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

  it('in "init" makes no home, and the same command works then', async () => {
    const home = world.path('fresh')
    const args = ['init', '--product', 'test', '--home', home]
    const being = (): boolean => readdirSync(world.folder).some((name) => name.startsWith('.fresh.new'))
    const { code, stderr } = await stopped(args, onceThere(being))
    expect({ code, stderr }).toMatchObject({ code: INTERRUPTED })
    expect(stderr).toContain('Nothing was made: run "keyturn init" again')
    expect(existsSync(home)).toBe(false)
    expect(being()).toBe(false)
    expect(await command(world, args, { home })).toMatchObject({ code: 0 })
  })

  it('in "release publish" shows players nothing, and the same command works then', async () => {
    await writeFile(world.path('game/client/data/big.bin'), randomBytes(96 * MIB))
    const tree = world.path('next')
    for (const args of [
      ['pack', 'tree', '--input', world.path('game/client'), '--output', tree, '--level', '1'],
      ['release', 'prepare', tree, '--release', 'next'],
      ['release', 'sign', 'next'],
      ['release', 'offer', 'next'],
    ])
      expect(await command(world, args), args.join(' ')).toMatchObject({ code: 0 })
    const shown = async (): Promise<unknown> => (await world.client?.getChannel('test', 'stable'))?.head?.sequence
    const before = await shown()
    const { code, stderr } = await stopped(['release', 'publish', '--events'], atWork('uploading'))
    expect({ code, stderr }).toMatchObject({ code: INTERRUPTED })
    expect(stderr).toContain('players see nothing of it: run "keyturn release publish" again')
    expect(await shown()).toBe(before)
    expect(await command(world, ['release', 'publish'])).toMatchObject({ code: 0 })
    expect(await shown()).not.toBe(before)
  })

  it('in "rotate content" keeps what is done, and the same command goes on', async () => {
    const first = (child: ChildProcess): Promise<void> =>
      new Promise((resolve) => {
        child.stderr?.on('data', (text: string) => {
          if (text.includes('"event":"step"')) resolve()
        })
      })
    const { code, stderr } = await stopped(['rotate', 'content', '--events'], first)
    expect({ code, stderr }).toMatchObject({ code: INTERRUPTED })
    expect(stderr).toContain('run "keyturn rotate content" again, it goes on where it stopped')
    expect(await command(world, ['rotate', 'content'])).toMatchObject({ code: 0 })
    const { data } = await command(world, ['status'])
    expect(data['pending']).toEqual([])
    expect((await world.home()).description.contentKeys).toHaveLength(2)
    expect(await command(world, ['doctor'])).toMatchObject({ code: 0 })
  })
})
