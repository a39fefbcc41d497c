import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { Keys } from '@keyturn/publisher/keys'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.connect()
  await mkdir(world.path('game/client/data'), { recursive: true })
  await writeFile(world.path('game/client/data/large.bin'), randomBytes(3_000_000))
  await writeFile(world.path('game/client/data/small.txt'), 'first words')
  await mkdir(world.path('game/client/sound'))
  await writeFile(world.path('game/client/sound/a.ogg'), 'a sound')
  await writeFile(world.path('game/client/game.sh'), '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  await writeFile(
    world.path('game/keyturn.json'),
    JSON.stringify({ schema: 1, source: 'client', program: { linux: 'game.sh' } }),
  )
})
afterEach(async () => {
  await world.remove()
})

async function done(answer: Promise<Answer>): Promise<Record<string, unknown>> {
  const { ok, data, error } = await answer
  if (!ok) throw new Error(JSON.stringify(error))
  return data
}

const owner = (...args: string[]): Promise<Answer> => command(world, args)
const ship = (home: string, ...args: string[]): Promise<Answer> =>
  command(world, ['ship', '--project', world.path('game/keyturn.json'), ...args], { home: world.path(home) })

/** A token with what the guide says and no more. */
async function tokenOfCi(): Promise<void> {
  const created = await world.client?.createToken({
    name: 'ci',
    scopes: ['blobs:write', 'releases:read', 'releases:write', 'releases:publish'],
    products: ['test'],
    channels: ['stable'],
    days: 90,
  })
  world.useToken(created?.secret ?? '')
}

async function bundle(...args: string[]): Promise<Record<string, unknown>> {
  const file = ['--out', world.path('ci.home'), '--new-passphrase-file', world.path('passphrase'), '--force']
  return await done(owner('ci', 'bundle', ...file, ...args))
}

/** A job begins with an empty folder and the bundle. */
async function job(name: string): Promise<string> {
  await rm(world.path(name), { recursive: true, force: true })
  await done(command(world, ['restore', world.path('ci.home')], { home: world.path(name) }))
  return name
}

async function change(text: string): Promise<void> {
  await writeFile(world.path('game/client/data/small.txt'), text)
}

async function player(): Promise<Engine> {
  const { data } = await owner('release', 'trust')
  return createEngine({
    folder: world.path('player'),
    server: `${world.url}/p/test/`,
    trust: String(data['pin']),
    target: 'linux',
  })
}

const digest = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex')

describe('keyturn ci bundle', () => {
  it('holds what makes releases, and no identity, transport or vault key', async () => {
    await done(ship('home'))
    const made = await bundle()
    expect(made['secrets']).toEqual(['release/1', 'head/1', 'archive-signing/1', 'content/1', 'slot/1'])
    await job('job')
    const keys = await Keys.open(world.path('job/keystore'), new TextEncoder().encode('test'), { clock: Date.now })
    expect(keys.store.list().map(({ alias }) => alias)).toEqual((made['secrets'] as string[]).toSorted())
    await keys.close()
    const { data } = await command(world, ['status'], { home: world.path('job') })
    expect(data).toMatchObject({ for_ci: true, due: [] })
    expect((data['items'] as { kind: string }[]).map(({ kind }) => kind)).not.toContain('identity')
    const doctor = await command(world, ['doctor'], { home: world.path('job') })
    const faults = (doctor.data['findings'] as { level: string }[]).filter(({ level }) => level === 'error')
    expect(faults).toEqual([])
    expect((await readdir(world.path('job'))).toSorted()).toEqual(
      ['heads', 'home.json', 'identity.cesr', 'keystore', 'restored.json', 'roles'].toSorted(),
    )
    expect(
      (await command(world, ['ci', 'bundle', '--out', world.path('x')], { home: world.path('job') })).error.code,
    ).toBe('CLI_USAGE')
  })

  it('writes a random passphrase where none is, for its owner alone, and replaces nothing unasked', async () => {
    const args = ['ci', 'bundle', '--out', world.path('ci.home'), '--new-passphrase-file', world.path('ci.txt')]
    await done(owner(...args))
    expect((await readFile(world.path('ci.txt'), 'utf8')).trim()).toHaveLength(32)
    expect((await stat(world.path('ci.txt'))).mode & 0o777).toBe(0o600)
    expect((await stat(world.path('ci.home'))).mode & 0o777).toBe(0o600)
    expect((await owner(...args)).error.code).toBe('CLI_EXISTS')
    expect((await owner(...args, '--force', '--roles', 'identity')).error.code).toBe('CLI_USAGE')
    expect((await readdir(world.folder)).filter((name) => name.startsWith('.'))).toEqual([])
  })

  it('of one role alone refuses to ship before anything is packed (CLI_HOME_STALE)', async () => {
    await bundle('--roles', 'release')
    const answer = await ship(await job('job'))
    expect(answer.error).toMatchObject({ code: 'CLI_HOME_STALE', message: expect.stringContaining('head key') })
    expect(existsSync(world.path('job/trees'))).toBe(false)
  })
})

describe('a job without state', () => {
  it('takes all else from the server: unchanged files keep their bytes, and nothing is stored again', async () => {
    await done(ship('home', '--version-name', '1.0'))
    await bundle()
    const before = await digest(world.path('ci.home'))
    await tokenOfCi()
    const engine = await player()
    await engine.update()
    for (const [version, previous] of [
      ['1.1', '1.0'],
      ['1.2', '1.1'],
    ] as const) {
      await writeFile(world.path('game/client/data/small.txt'), `words of ${version}`)
      const shipped = await done(ship(await job(`job-${version}`), '--version-name', version))
      expect(shipped).toMatchObject({ version, previous, changed: 1, added: 0, removed: 0 })
      expect(Number(shipped['download_bytes'])).toBeLessThan(300_000)
      await engine.update()
      expect((await engine.status()).version).toBe(version)
    }
    expect(await digest(world.path('ci.home'))).toBe(before)
    expect((await readdir(world.path('job-1.2/trees/stable'))).toSorted()).toEqual(['1.2'])
    expect(await digest(world.path('player/pack/sound.m2p'))).toBe(
      await digest(world.path('home/trees/stable/1.0/pack/sound.m2p')),
    )
  })

  it('fetches only tables of large archives, by range', async () => {
    await writeFile(world.path('game/client/data/huge.bin'), randomBytes(20_000_000))
    await done(ship('home', '--version-name', '1.0'))
    await bundle()
    await tokenOfCi()
    const fetched: number[] = []
    const real = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      const response = await real(input, init)
      if (String(input).includes('/files/')) fetched.push(Number(response.headers.get('content-length') ?? 0))
      return response
    }
    try {
      await writeFile(world.path('game/client/game.sh'), '#!/bin/sh\nexit 1\n')
      await done(ship(await job('job'), '--version-name', '1.1'))
    } finally {
      globalThis.fetch = real
    }
    const sum = fetched.reduce((total, bytes) => total + bytes, 0)
    expect(sum).toBeGreaterThan(0)
    expect(sum).toBeLessThan(1_500_000)
  })

  it('loses to another job with PUB_STALE, and wins when it is repeated (row 347)', async () => {
    await done(ship('home', '--version-name', '1.0'))
    await bundle()
    await tokenOfCi()
    await writeFile(world.path('game/client/data/small.txt'), 'two at once')
    const [a, b] = [await job('a'), await job('b')]
    const answers = await Promise.all([ship(a), ship(b)])
    const lost = answers.filter(({ ok }) => !ok)
    // Either they met, or one was over before the other read the channel.
    for (const { error } of lost)
      expect(error).toMatchObject({ code: 'PUB_STALE', hint: expect.stringContaining('again') })
    await writeFile(world.path('game/client/data/small.txt'), 'and another commit')
    const before = answers.filter(({ data }) => data?.['shipped'] === true).length
    expect(before).toBeGreaterThan(0)
    const repeated = await done(ship(answers[0]?.ok === true ? b : a))
    expect(repeated).toMatchObject({ shipped: true, head_sequence: before + 2 })
  })

  it('is not stopped by the draft that an interrupted job left (row 348)', async () => {
    await done(ship('home', '--version-name', '1.0'))
    await bundle()
    await tokenOfCi()
    await writeFile(world.path('game/client/data/small.txt'), 'interrupted')
    const real = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      if (String(input).endsWith(':publish')) throw new Error('the network is gone')
      return await real(input, init)
    }
    try {
      expect((await ship(await job('a'), '--version-name', '1.1')).ok).toBe(false)
    } finally {
      globalThis.fetch = real
    }
    await writeFile(world.path('game/client/data/small.txt'), 'another commit')
    expect(await done(ship('a', '--version-name', '1.1'))).toMatchObject({ version: '1.1', previous: '1.0' })
    await writeFile(world.path('game/client/data/small.txt'), 'yet another')
    expect(await done(ship(await job('b'), '--version-name', '1.2'))).toMatchObject({ previous: '1.1' })
  })

  it('uses nothing of a server that does not fit what is signed, and ships nothing (row 349)', async () => {
    await done(ship('home', '--version-name', '1.0'))
    await bundle()
    await tokenOfCi()
    await writeFile(world.path('game/client/data/small.txt'), 'changed')
    const shown = await world.client?.getChannel('test', 'stable')
    const seen: Record<string, string> = {}
    for (const [what, part] of Object.entries({
      'a file': '/files/',
      'a manifest': '/manifests/1.0.json',
      'its signatures': '/manifests/1.0.sigs.json',
      'the log': '/kel/',
    })) {
      const restore = tampered(part)
      try {
        seen[what] = (await ship(await job('job'), '--version-name', '1.1')).error.code
      } finally {
        restore()
      }
    }
    expect(seen).toEqual({
      'a file': 'REL_SERVER_FILE',
      'a manifest': 'REL_SERVER_FILE',
      'its signatures': expect.stringMatching(/^MAN_/),
      'the log': expect.stringMatching(/^KEL_/),
    })
    expect(await world.client?.getChannel('test', 'stable')).toEqual(shown)
  })

  it('stops with an old bundle after a key was rotated, before it packs anything (CLI_HOME_STALE) (row 350)', async () => {
    await done(ship('home', '--version-name', '1.0'))
    await bundle()
    const old = world.path('old.home')
    await writeFile(old, await readFile(world.path('ci.home')))
    for (const rotation of ['content', 'release']) {
      await done(owner('rotate', rotation))
      await writeFile(world.path('ci.home'), await readFile(old))
      await writeFile(world.path('game/client/data/small.txt'), `after ${rotation}`)
      const { error } = await ship(await job('job'), '--version-name', '1.1')
      expect(error).toMatchObject({ code: 'CLI_HOME_STALE', hint: expect.stringContaining('keyturn ci bundle') })
      expect(existsSync(world.path('job/trees'))).toBe(false)
      await bundle()
      expect((await ship(await job('job'), '--version-name', `1.1-${rotation}`)).ok).toBe(true)
    }
  })

  it('names its release after those that it cannot see, and ships while one is scheduled', async () => {
    await done(ship('home'))
    await bundle()
    await change('scheduled')
    const hour = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+Z$/, 'Z')
    const { version } = await done(ship('home', '--at', hour))
    await change('a fix meanwhile')
    expect(await done(ship(await job('job')))).toMatchObject({ version: expect.stringMatching(/-3$/) })
    // It opens with a content key of its own, which the bundle does not have.
    await bundle()
    await done(owner('release', 'schedule', String(version), '--now'))
    await change('after the hour')
    expect((await ship(await job('job'))).error).toMatchObject({
      code: 'CLI_HOME_STALE',
      hint: expect.stringContaining('keyturn ci bundle'),
    })
    await bundle()
    expect(await done(ship(await job('job')))).toMatchObject({ version: expect.stringMatching(/-4$/) })
  })

  it('is not signed again by a rotation that revokes a stolen key, until its owner says that it is theirs', async () => {
    await done(ship('home', '--version-name', '1.0'))
    await bundle()
    await writeFile(world.path('game/client/data/small.txt'), 'by the job, or by a thief with its keys')
    await done(ship(await job('job'), '--version-name', '1.1'))
    const revoke = ['rotate', 'release', '--revoke']
    // Every channel is signed again, so naming one leaves out none.
    expect((await owner(...revoke, '--channel', 'nightly')).error).toMatchObject({ code: 'CLI_TURN_UNREADY' })
    expect((await owner(...revoke)).error).toMatchObject({
      code: 'CLI_TURN_UNREADY',
      message: expect.stringContaining('1.1'),
      hint: expect.stringContaining('keyturn release rollback'),
    })
    expect((await owner('roles', 'show')).data).toMatchObject({ version: 1 })
    await done(owner('release', 'rollback', '1.0'))
    await done(owner(...revoke))
    const engine = await player()
    await engine.update()
    expect(await digest(world.path('player/pack/data.m2p'))).toBe(
      await digest(world.path('home/trees/stable/1.0/pack/data.m2p')),
    )
  })
})

/** A server, or somebody on the way, that changes one byte in the middle of some answers. */
function tampered(part: string): () => void {
  const real = globalThis.fetch
  globalThis.fetch = async (input, init) => {
    const response = await real(input, init)
    if (!String(input).includes(part) || !response.ok) return response
    const bytes = new Uint8Array(await response.arrayBuffer())
    const middle = bytes.length >> 1
    bytes[middle] = (bytes[middle] ?? 0) ^ 1
    return new Response(bytes, { status: response.status, headers: response.headers })
  }
  return () => {
    globalThis.fetch = real
  }
}
