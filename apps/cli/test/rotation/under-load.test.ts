import { randomBytes } from 'node:crypto'
import { cp, mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { createEngine } from '@keyturn/install-engine'
import type { Engine, Fetch } from '@keyturn/install-engine'
import { KeyturnError } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { trustPin } from '@keyturn/publisher/release'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from '../support/command.ts'
import { World } from '../support/world.ts'

/** Launchers that update all the time; the campaign takes 2,000. */
const LAUNCHERS = Number(process.env['KEYTURN_LOAD_LAUNCHERS'] ?? '12')
/** Updates under way at any moment. */
const AT_ONCE = Math.min(LAUNCHERS, 24)
/** Launchers that also start the client after each rotation, with a key from the server. */
const PLAYERS = 2
/** Size of the client that they install: enough for a chunk index, without which archives are fetched whole. */
const CLIENT_BYTES = 600_000
const CLIENT = fileURLToPath(new URL('../../../../tooling/sample-client/src/main.ts', import.meta.url))

/** The real disk without fsync: thousands of installs on one disk would measure nothing else. */
const unsynced: FileSystem = {
  ...nodeFileSystem,
  open: async (...args: Parameters<typeof open>) => {
    const handle = await open(...args)
    return Object.assign(handle, { sync: () => Promise.resolve(), datasync: () => Promise.resolve() })
  },
}

/** Bytes of blobs that one launcher fetched, to see whether it fetched any of them twice. */
class Meter {
  readonly #ranges = new Map<string, [number, number][]>()
  bytes = 0
  twice = 0

  note(url: string, range: string | null, length: number): void {
    const name = new URL(url).pathname
    if (!name.includes('/files/')) return
    const from = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? '0')
    const known = this.#ranges.get(name) ?? []
    for (const [start, end] of known) this.twice += Math.max(0, Math.min(end, from + length) - Math.max(start, from))
    this.bytes += length
    this.#ranges.set(name, [...known, [from, from + length]])
  }
}

interface Launcher {
  readonly name: string
  readonly meter: Meter
  /** Begin of its last update that went well. */
  followedMs: number
  isBusy: boolean
}

/** Launchers that look for updates all the time, over real HTTP, each with the engine of players and a folder. */
class Fleet {
  readonly launchers: readonly Launcher[]
  readonly failures: string[] = []
  readonly latencies: number[] = []
  readonly #world: World
  readonly #trust: string
  #next = 0
  #workers: Promise<void>[] = []
  #isStopped = false

  constructor(world: World, trust: string) {
    this.#world = world
    this.#trust = trust
    this.launchers = Array.from({ length: LAUNCHERS }, (_, at) => ({
      name: `launchers/${at}`,
      meter: new Meter(),
      followedMs: 0,
      isBusy: false,
    }))
  }

  engine({ name, meter }: Launcher): Engine {
    const folder = this.#world.path(name)
    const counted: Fetch = async (url, init) => {
      const answer = await fetch(url, init)
      if (!answer.ok || answer.body === null) return answer
      const body = new Uint8Array(await answer.arrayBuffer())
      meter.note(url, new Headers(init.headers).get('range'), body.length)
      return new Response(body, { status: answer.status, headers: answer.headers })
    }
    return createEngine({
      folder,
      server: `${this.#world.url}/`,
      trust: this.#trust,
      product: 'test',
      channel: 'stable',
      program: [process.execPath, CLIENT, '--dir', folder],
      fetch: counted,
      fs: unsynced,
      logFile: false,
      confirmAfterMs: 1,
      lockWaitMs: 60_000,
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    })
  }

  async #update(launcher: Launcher): Promise<void> {
    const startedMs = Date.now()
    launcher.isBusy = true
    try {
      await this.engine(launcher).update()
      launcher.followedMs = startedMs
    } catch (error) {
      this.failures.push(`${launcher.name}: ${error instanceof KeyturnError ? error.code : ''} ${String(error)}`)
    }
    this.latencies.push(Date.now() - startedMs)
    launcher.isBusy = false
  }

  start(): void {
    const work = async (): Promise<void> => {
      while (!this.#isStopped) {
        const launcher = this.launchers[this.#next++ % LAUNCHERS] as Launcher
        if (launcher.isBusy) await new Promise((resolve) => setTimeout(resolve, 1))
        else await this.#update(launcher)
      }
    }
    this.#workers = Array.from({ length: AT_ONCE }, work)
  }

  /** Waits until every launcher has updated from what is published now, or one has failed. */
  async follow(): Promise<number> {
    const since = Date.now()
    while (this.failures.length === 0 && this.launchers.some(({ followedMs }) => followedMs < since))
      await new Promise((resolve) => setTimeout(resolve, 20))
    return Date.now() - since
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#workers)
  }

  get bytes(): { total: number; twice: number } {
    return this.launchers.reduce(
      (sum, { meter }) => ({ total: sum.total + meter.bytes, twice: sum.twice + meter.twice }),
      { total: 0, twice: 0 },
    )
  }
}

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.startServer(Date.now, true, { rates: { managementPerMinute: 1e9, publicPerMinute: 1e9 } })
  await writeFile(world.path('token.txt'), `${world.token}\n`, { mode: 0o600 })
  await (await world.home()).update({ server: world.url })
  await mkdir(world.path('game'))
  await writeFile(world.path('game/keyturn.json'), JSON.stringify({ schema: 1, source: 'client' }))
  await cp(await world.source(), world.path('game/client'), { recursive: true })
  // Bytes that do not compress, so that it shows how little of them travels again.
  await writeFile(world.path('game/client/data/large.bin'), randomBytes(CLIENT_BYTES))
})
afterEach(async () => {
  await world.remove()
})

async function succeed(...args: string[]): Promise<Record<string, unknown>> {
  const token = args[0] === 'rotate' && args[1] === 'vault' ? [] : ['--token-file', world.path('token.txt')]
  const answer = await command(world, [...args, ...token])
  if (!answer.ok) throw new Error(`${args.join(' ')}: ${JSON.stringify(answer.error)}`)
  return answer.data
}

/** Makes every key of the home due at once. */
async function everythingIsDue(): Promise<void> {
  const path = world.path('home', 'home.json')
  const kinds = ['identity', 'release', 'head', 'content', 'archiveSigning', 'transportIdentity', 'vault']
  const policy = Object.fromEntries(kinds.map((kind) => [kind, 0]))
  const home = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
  await writeFile(path, JSON.stringify({ ...home, policy }))
}

/** Starts the client of some launchers: it opens every archive with the key that the server delivers over Noise. */
async function play(fleet: Fleet): Promise<void> {
  for (const launcher of fleet.launchers.slice(0, PLAYERS)) {
    const { exited, confirmed } = await fleet
      .engine(launcher)
      .launch({ update: false, stdio: ['ignore', 'ignore', 'ignore'] })
    expect(await exited).toBe(0)
    await confirmed
  }
}

const rotations: readonly (readonly string[])[] = [
  ['rotate', 'content'],
  ['rotate', 'release'],
  ['rotate', 'head'],
  ['rotate', 'identity'],
  ['rotate', 'transport', '--now'],
  ['rotate', 'vault'],
]

describe('every key is rotated while players update', () => {
  it('one after the other, and all at once: no update fails, no byte is fetched twice (row 354)', async () => {
    await succeed('noise', 'publish', '--to', world.url, '--hand-over')
    await succeed('ship', '--project', world.path('game/keyturn.json'), '--no-runtime-key-file')
    const fleet = new Fleet(world, await trustPin(await world.home()))
    fleet.start()
    const figures: Record<string, { rotatedMs: number; followedMs: number; bytesEach: number }> = {}
    const wave = async (name: string, rotate: () => Promise<unknown>): Promise<void> => {
      const [started, before] = [Date.now(), fleet.bytes.total]
      await rotate()
      const rotatedMs = Date.now() - started
      const followedMs = await fleet.follow()
      figures[name] = { rotatedMs, followedMs, bytesEach: Math.round((fleet.bytes.total - before) / LAUNCHERS) }
      expect(fleet.failures).toEqual([])
    }
    try {
      await wave('first install', () => Promise.resolve())
      for (const args of rotations) await wave(args.join(' '), () => succeed(...args))
      await play(fleet)
      await everythingIsDue()
      await wave('rotate all --due, noise publish', async () => {
        expect(await succeed('rotate', 'all', '--due')).toMatchObject({
          turned: ['identity', 'transport-identity', 'content', 'vault'],
        })
        await succeed('noise', 'publish', '--to', world.url, '--hand-over')
      })
      await play(fleet)
    } finally {
      await fleet.stop()
    }
    const full = figures['first install']?.bytesEach ?? 0
    const { total, twice } = fleet.bytes
    const sorted = fleet.latencies.toSorted((a, b) => a - b)
    const updates = sorted.length
    console.log(
      JSON.stringify({
        launchers: LAUNCHERS,
        updates,
        failed: fleet.failures.length,
        bytes: total,
        twice,
        p50_ms: sorted[Math.floor(updates / 2)],
        p99_ms: sorted[Math.floor(updates * 0.99)],
        figures,
      }),
    )
    expect(fleet.failures).toEqual([])
    expect(twice).toBe(0)
    for (const name of ['rotate release', 'rotate head', 'rotate identity', 'rotate transport --now', 'rotate vault'])
      expect([name, figures[name]?.bytesEach]).toEqual([name, 0])
    expect(full).toBeGreaterThan(CLIENT_BYTES)
    for (const name of ['rotate content', 'rotate all --due, noise publish'])
      expect(figures[name]?.bytesEach ?? full, name).toBeLessThan(full / 10)
  }, 7_200_000)
})
