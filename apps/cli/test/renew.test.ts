import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { parseHead, parseHeadEnvelope, parseManifest } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import { base64Encode } from '@keyturn/primitives'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../src/program.ts'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

const DAY_MS = 86_400_000

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

async function withServer(): Promise<void> {
  await world.connect()
  await writeFile(world.path('token.txt'), `${world.token}\n`, { mode: 0o600 })
}

async function keyturn(...args: string[]): Promise<Answer> {
  return await command(world, args)
}

async function succeed(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await keyturn(...args)
  if (!answer.ok) throw new Error(`${args.join(' ')}: ${JSON.stringify(answer.error)}`)
  return answer.data
}

async function refusal(...args: string[]): Promise<string> {
  return (await keyturn(...args)).error.code
}

/** Prepares a release whose only file holds a text. */
async function prepared(text: string): Promise<string> {
  const folder = world.path(`tree-${text}`)
  await mkdir(folder, { recursive: true })
  await writeFile(world.path(`tree-${text}`, 'game.txt'), text)
  return String((await succeed('release', 'prepare', folder))['version'])
}

async function signed(text: string): Promise<string> {
  const version = await prepared(text)
  await succeed('release', 'sign', version)
  return version
}

async function published(text: string, ...flags: string[]): Promise<string> {
  const version = await signed(text)
  await succeed('release', 'offer', version, ...flags)
  await succeed('release', 'publish')
  return version
}

/** The head that launchers see. */
async function shown(channel = 'stable'): Promise<Head> {
  const bytes = await world.client?.fetchPublic(`/p/test/channels/${channel}/head.json`)
  if (bytes === undefined) throw new Error('no head')
  return parseHead(parseHeadEnvelope(bytes).payload)
}

/** What a head offers: all but number, dates and place in the log. */
async function offer(): Promise<unknown> {
  const { sequence: _sequence, issuedAt: _issued, expiresAt: _expires, log: _log, ...rest } = await shown()
  return rest
}

describe('keyturn release renew', () => {
  it('repeats a halt: a broken release stays away from players (B1)', async () => {
    await withServer()
    const good = await published('good')
    await published('broken', '--percent', '20')
    await succeed('release', 'halt')
    const before = await offer()
    const { sequence } = await shown()
    expect(await succeed('release', 'renew')).toMatchObject({
      renewed: [{ fallback: good, paused: true, published: true }],
    })
    expect(await offer()).toEqual(before)
    expect(await shown()).toMatchObject({ sequence: sequence + 1, rollout: { percent: 20, paused: true } })
  })

  it('a second halt never brings the broken release back: nobody gets what a rollback stepped over', async () => {
    await withServer()
    const good = await published('good')
    const broken = await published('broken')
    await succeed('release', 'halt')
    expect(await refusal('release', 'rollback', broken)).toBe('REL_HALTED')
    await succeed('release', 'rollback', good)
    expect(await succeed('release', 'halt')).toMatchObject({ fallback: good })
    expect(await succeed('release', 'halt', '--local')).toMatchObject({ fallback: good })
    await succeed('release', 'rollback', good)
    expect(await succeed('release', 'halt', '--local')).toMatchObject({ fallback: good })
  })

  it('says that a halt waits which somebody asked the server for, and leaves it waiting', async () => {
    await withServer()
    await published('good')
    await published('broken')
    await world.client?.halt('test', 'stable', 'it crashes')
    const printed: string[] = []
    const options = { onStderr: (text: string) => void printed.push(text) }
    expect((await command(world, ['release', 'renew'], options)).ok).toBe(true)
    expect(printed.join('')).toMatch(/asked for a halt at .*run "keyturn release halt"/)
    expect((await world.client?.getChannel('test', 'stable'))?.wanted).toMatchObject({ action: 'halt' })
    await succeed('release', 'halt')
    expect(await world.client?.getChannel('test', 'stable')).toMatchObject({ wanted: null, rollout: { paused: true } })
  })

  it('repeats a rollout with its share and salt (B1)', async () => {
    await withServer()
    await published('one')
    await published('two', '--percent', '20')
    const before = await offer()
    await succeed('release', 'renew')
    await succeed('release', 'renew', '--all')
    expect(await offer()).toEqual(before)
  })

  it('never picks a release: what was prepared or signed last stays at home (B2)', async () => {
    await withServer()
    const offered = await published('wednesday')
    await signed('friday')
    await prepared('unsigned')
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: offered }] })
    expect((await shown()).manifest.version).toBe(offered)
  })

  it('goes on after a release was withdrawn: everybody is offered the fallback (B3)', async () => {
    await withServer()
    const good = await published('good')
    const broken = await published('broken')
    await succeed('release', 'halt', '--withdraw')
    for (let day = 0; day < 3; day++) await succeed('release', 'renew')
    const head = await shown()
    expect(head).toMatchObject({
      manifest: { version: broken },
      fallback: { version: good },
      revoked: [{ sequence: 2 }],
    })
    const player = await world.engine()
    expect((await player.update()).version).toBe(good)
    expect(await refusal('release', 'offer', broken, '--resume')).toBe('REL_WITHDRAWN')
    expect(await refusal('release', 'rollout', '--resume')).toBe('REL_WITHDRAWN')
    expect(await refusal('release', 'rollback', broken)).toBe('REL_WITHDRAWN')
  })

  it('leaves a head alone that waits for its day, and says so (B2)', async () => {
    await withServer()
    const thursday = await published('thursday')
    const friday = await signed('friday')
    await succeed('release', 'offer', friday)
    await succeed('release', 'renew')
    expect((await shown()).manifest.version).toBe(thursday)
    // Its number is used up by now: it is signed again by name.
    const stale = await keyturn('release', 'publish')
    expect(stale.error).toMatchObject({ code: 'REL_HEAD_STALE' })
    expect(stale.error.hint).toContain(`keyturn release offer ${friday}`)
    await succeed('release', 'offer', friday)
    await succeed('release', 'publish')
    expect((await shown()).manifest.version).toBe(friday)
  })

  it('refuses without a server to replace a head that waits', async () => {
    const first = await signed('one')
    expect(await refusal('release', 'renew')).toBe('REL_NO_OFFER')
    await succeed('release', 'offer', first)
    expect(await refusal('release', 'renew')).toBe('REL_NO_OFFER')
    await succeed('release', 'export-static', world.path('public'))
    await succeed('release', 'renew')
    await succeed('release', 'renew')
    await succeed('release', 'export-static', world.path('public'))
    await succeed('release', 'offer', await signed('two'))
    expect(await refusal('release', 'renew')).toBe('REL_HEAD_WAITING')
    expect(await succeed('release', 'drop-head')).toMatchObject({ dropped_sequence: 4, sequence: 3 })
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: first, sequence: 4 }] })
    expect(await refusal('release', 'renew', '--all', '--channel', 'stable')).toBe('CLI_USAGE')
  })

  it('needs neither the release nor its files in this home', async () => {
    await withServer()
    const offered = await published('one')
    await rm(world.path('tree-one'), { recursive: true })
    await rm(world.path('home', 'releases'), { recursive: true })
    await rm(world.path('home', 'heads'), { recursive: true })
    expect(await succeed('release', 'renew', '--all')).toMatchObject({ renewed: [{ version: offered, sequence: 2 }] })
  })

  it('refuses a release of an earlier epoch', async () => {
    await withServer()
    const version = await published('one')
    await succeed('roles', 'propose', '--raise-epoch')
    await succeed('roles', 'seal', '--local')
    expect(await refusal('release', 'renew')).toBe('REL_EPOCH')
    // Its hint: the same files under a new manifest.
    expect(await succeed('release', 'rollback', version)).toMatchObject({ head_sequence: 2, published: true })
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ sequence: 3 }] })
  })
})

describe('keyturn release offer', () => {
  it('lifts no halt and ends no rollout without a word', async () => {
    await withServer()
    const one = await published('one')
    const two = await published('two', '--percent', '20')
    const three = await signed('three')
    expect(await refusal('release', 'offer', three)).toBe('REL_ROLLING_OUT')
    // The same release again goes on as it went.
    expect(await succeed('release', 'offer', two)).toMatchObject({ percent: 20, fallback: one })
    await succeed('release', 'halt')
    expect(await refusal('release', 'offer', two)).toBe('REL_HALTED')
    expect(await refusal('release', 'offer', three, '--percent', '100')).toBe('REL_HALTED')
    expect(await refusal('release', 'promote', three, '--to', 'stable')).toBe('REL_HALTED')
    expect(await succeed('release', 'offer', two, '--resume')).toMatchObject({ percent: 20, fallback: one })
    const fixed = await succeed('release', 'offer', three, '--resume', '--percent', '5')
    expect(fixed).toMatchObject({ version: three, percent: 5, fallback: one })
    await succeed('release', 'publish')
    const done = await succeed('release', 'offer', three, '--percent', '100')
    expect([done['percent'], done['fallback']]).toEqual([undefined, undefined])
  })

  it('asks for the newest by its name when none is given', async () => {
    await signed('one')
    const newest = await signed('two')
    await prepared('not signed')
    let asked = ''
    const stderr = { write: (text: string) => void (asked += text) }
    const args = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase')]
    const code = await run(['release', 'head', ...args], {
      stdout: stderr,
      stderr,
      env: {},
      signal: world.signal,
    })
    expect(code).not.toBe(0)
    expect(asked).toContain('CLI_NO_TERMINAL')
    expect(asked).toContain(`Offer release ${newest}`)
    expect(await succeed('release', 'head')).toMatchObject({ version: newest })
  })

  it('gives the first release of a channel to everyone', async () => {
    const first = await signed('one')
    expect(await refusal('release', 'offer', first, '--percent', '10')).toBe('REL_NO_FALLBACK')
    await succeed('release', 'offer', first)
    expect(await refusal('release', 'halt')).toBe('REL_NO_OFFER')
    await succeed('release', 'export-static', world.path('public'))
    expect(await refusal('release', 'halt')).toBe('REL_NO_FALLBACK')
  })

  it('refuses everything under an expired role document (row 402)', async () => {
    await withServer()
    const version = await published('one')
    const later = { nowMs: Date.now() + 366 * DAY_MS }
    for (const args of [
      ['release', 'prepare', world.path('tree-one')],
      ['release', 'sign', version],
      ['release', 'offer', version],
      ['release', 'renew', '--local'],
    ]) {
      const { error } = await command(world, args, later)
      expect([args[1], error.code, error.hint]).toEqual([
        args[1],
        'REL_ROLES_EXPIRED',
        expect.stringContaining('keyturn rotate'),
      ])
    }
  })

  it('keeps a head within the days of the role document', async () => {
    const version = await signed('one')
    expect(await refusal('release', 'offer', version, '--days', '8')).toBe('CLI_USAGE')
    expect(await refusal('release', 'offer', version, '--days', '31')).toBe('CLI_USAGE')
  })
})

/** A server in front of the real one that answers one address with something of its own. */
async function liar(answer: (path: string) => string | undefined): Promise<{ url: string; server: Server }> {
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    void (async () => {
      const path = request.url ?? ''
      const own = answer(path)
      if (own !== undefined) return response.setHeader('content-type', 'application/json').end(own)
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part as Buffer)
      const real = await fetch(`${world.url}${path}`, {
        method: request.method ?? 'GET',
        headers: Object.fromEntries(
          Object.entries(request.headers).filter(([name]) => !['host', 'connection', 'content-length'].includes(name)),
        ) as Record<string, string>,
        ...(parts.length === 0 ? {} : { body: Buffer.concat(parts) }),
      })
      response.statusCode = real.status
      response.setHeader('content-type', real.headers.get('content-type') ?? 'application/octet-stream')
      return response.end(Buffer.from(await real.arrayBuffer()))
    })()
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

describe('the number of a head', () => {
  it('is never one that only a server says', async () => {
    await withServer()
    await published('one')
    await published('two')
    const forged = {
      type: 'keyturn.head',
      schema: 1,
      product: 'test',
      channel: 'stable',
      epoch: 1,
      sequence: Number.MAX_SAFE_INTEGER - 1,
    }
    const { url, server } = await liar((path) => {
      if (path.endsWith('/head.json')) {
        const payload = base64Encode(new TextEncoder().encode(JSON.stringify(forged)))
        const signatures = [{ keyid: '11'.repeat(32), sig: base64Encode(new Uint8Array(64)) }]
        return JSON.stringify({ payloadType: 'application/vnd.keyturn.head+json', payload, signatures })
      }
      if (path !== '/v1/products/test/channels/stable') return undefined
      return JSON.stringify({ product: 'test', channel: 'stable', head: { sequence: Number.MAX_SAFE_INTEGER - 1 } })
    })
    try {
      for (const args of [
        ['rollout', '--percent', '50'],
        ['halt'],
        ['renew'],
        ['rollout', '--resume', '--percent', '100'],
      ])
        await succeed('release', ...args, '--server', url, '--token-file', world.path('token.txt'))
      expect((await shown()).sequence).toBe(6)
    } finally {
      server.closeAllConnections()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    }
  })

  it('follows that of a head signer beside the server, whose head is verified', async () => {
    await withServer()
    await published('one')
    // As the head signer would: with the head key, from another place.
    const other = world.path('other')
    await cp(world.path('home'), other, { recursive: true, filter: (source) => !source.endsWith('lock') })
    for (let turn = 0; turn < 3; turn++)
      expect((await command(world, ['release', 'renew'], { home: other })).ok).toBe(true)
    expect((await shown()).sequence).toBe(4)
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ sequence: 5 }] })
  })

  it('counts only when the server took it, and never jumps past what launchers follow', async () => {
    await withServer()
    const version = await published('one')
    expect(await refusal('release', 'offer', version, '--at-least', '100002')).toBe('REL_HEAD_JUMP')
    await succeed('release', 'offer', version, '--at-least', '100001')
    expect(await refusal('release', 'offer', version)).toBe('REL_HEAD_JUMP')
    expect(await succeed('release', 'drop-head')).toMatchObject({ dropped_sequence: 100_001, sequence: 1 })
    expect(await refusal('release', 'drop-head')).toBe('REL_NO_OFFER')
    expect(await succeed('release', 'offer', version)).toMatchObject({ sequence: 2 })
  })

  it('of a home that counted a head as published before it was is put right by the head that the server shows', async () => {
    await withServer()
    const version = await published('one')
    await succeed('release', 'offer', version, '--at-least', '99999')
    // An older version of this program kept what it signed in the place of what was published.
    await cp(world.path('home', 'heads', 'stable.waiting.json'), world.path('home', 'heads', 'stable.json'))
    await rm(world.path('home', 'heads', 'stable.waiting.json'))
    expect(await succeed('release', 'drop-head')).toMatchObject({ dropped_sequence: 99_999, sequence: 1 })
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ sequence: 2 }] })
  })
})

describe('keyturn release publish', () => {
  it('names the file that changed after the release was prepared, and what to do (row 404)', async () => {
    await withServer()
    const version = await signed('one')
    await succeed('release', 'offer', version)
    await writeFile(world.path('tree-one', 'game.txt'), 'two')
    const { error } = await keyturn('release', 'publish')
    expect(error.code).toBe('REL_TREE_CHANGED')
    expect(error.message).toContain('game.txt')
    expect(error.hint).toContain(`release discard ${version}`)
  })

  it('says which release needs a file that is gone (row 404)', async () => {
    await withServer()
    const version = await signed('one')
    await succeed('release', 'offer', version)
    await rm(world.path('tree-one'), { recursive: true })
    const { error } = await keyturn('release', 'publish')
    expect(error.code).toBe('CLI_PATH_UNKNOWN')
    expect(error.message).toContain(version)
    expect(error.message).toContain('game.txt')
  })
})

describe('keyturn rotate content', () => {
  it('rewraps what is offered, never what was signed last, and lets a rollout go on', async () => {
    await withServer()
    const one = await world.release('one')
    await world.release('two')
    await succeed('release', 'rollout', '--percent', '20')
    const { rollout } = await shown()
    const output = world.path('friday')
    await succeed('pack', 'tree', '--input', await world.source('friday'), '--output', output)
    await succeed('release', 'sign', String((await succeed('release', 'prepare', output))['version']))
    await succeed('rotate', 'content')
    const head = await shown()
    expect(head).toMatchObject({ manifest: { sequence: 4 }, fallback: { version: one.manifest.version }, rollout })
    const rotated = await world.client?.fetchPublic(`/p/test/channels/stable/manifests/${head.manifest.version}.json`)
    const before = (await succeed('release', 'show', head.manifest.version))['files']
    expect([before, parseManifest(rotated as Uint8Array).files.map(({ keyId }) => keyId)]).toEqual([
      one.manifest.files.length,
      one.manifest.files.map(({ keyId }) => (keyId === undefined ? undefined : 2)),
    ])
  })

  it('ends no halt by the way', async () => {
    await withServer()
    await world.release('one')
    await world.release('two')
    await succeed('release', 'halt')
    expect(await refusal('rotate', 'content')).toBe('REL_HALTED')
  })
})

describe('keyturn release rollback', () => {
  it('never brings back a content key that was rotated out: archives are rewrapped', async () => {
    await withServer()
    const { manifest } = await world.release('one')
    await world.release('two')
    await succeed('rotate', 'content')
    const { version } = await succeed('release', 'rollback', manifest.version)
    const bytes = await world.client?.fetchPublic(`/p/test/channels/stable/manifests/${String(version)}.json`)
    const made = parseManifest(bytes as Uint8Array)
    expect(made.rollbackOf).toBe(manifest.version)
    expect(new Set(made.files.flatMap(({ keyId }) => keyId ?? []))).toEqual(new Set([2]))
    const player = await world.engine()
    expect((await player.update()).version).toBe(version)
  })

  it('gives the next free number, and a promoted build keeps its own (row 403)', async () => {
    await withServer()
    const one = await published('one')
    const far = await command(world, ['release', 'prepare', world.path('tree-one'), '--release', '2031.01.01-1'])
    expect(far.ok).toBe(true)
    expect(await prepared('two')).toBe(one.replace(/1$/, '2'))
    expect(await succeed('release', 'promote', one, '--to', 'beta')).toMatchObject({ version: one, channel: 'beta' })
  })
})
