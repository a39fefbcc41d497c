import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TrustStatus } from '@keyturn/install-engine'
import { temporaryFolder } from '../../../packages/install-engine/test/support/install.ts'
import { answer, LyingServer } from '../../../packages/install-engine/test/support/lying-server.ts'
import { contentKey, DAY, keyId, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease, TestFiles } from '../../../packages/install-engine/test/support/publisher.ts'

// docs/spec/manifest.md §4, row by row, against the built program: what plays, what installs, what a player sees.

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
if (!existsSync(main)) console.info('States of trust: skipped, the launcher is not built')

const key = contentKey(4)
const client =
  "import { writeFileSync } from 'node:fs'\nwriteFileSync(process.argv[2], process.env.M2PACK_MASTER_KEY_HEX ?? 'no key')"
const filesOf = (edition: string): TestFiles => ({
  'client.mjs': client,
  'runtime-key.json': key.json,
  'edition.txt': edition,
})
const m2pack = (more: object = {}) => ({ format: 'm2pack', place: { contentKeys: [key.entry], ...more } })

let server: LyingServer
let address: string
let publisher: Publisher
afterAll(async () => server?.close())
beforeAll(async () => {
  server = new LyingServer(() => publisher.tree)
  address = await server.listen()
})

interface Answer {
  readonly code: number | null
  readonly stderr: string
  readonly ok: boolean
  readonly error: string | undefined
  readonly message: string
  readonly data: Record<string, unknown>
}

async function run(command: string, ...args: string[]): Promise<Answer> {
  const child = spawn(process.execPath, [main, command, '--json', ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/tmp' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    stdout += part
  })
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    stderr += part
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  const { ok, error, data } = JSON.parse(stdout) as {
    ok: boolean
    error?: { code: string; message: string }
    data?: Record<string, unknown>
  }
  return { code, stderr, ok, error: error?.code, message: error?.message ?? '', data: data ?? {} }
}

/** What one row leaves an install with. */
interface Expected {
  /** Code of `update`, or its outcome. */
  readonly update: string
  readonly trust: TrustStatus
  /** Whether a start without the server runs the client; else the code that bars it. */
  readonly plays: true | string
  /** Which edition is in the folder. */
  readonly edition: string
  /** What `status` says in words. */
  readonly words: RegExp
}

interface World {
  readonly first: MadeRelease
  readonly dir: string
  readonly flags: readonly string[]
}

async function world(): Promise<World> {
  publisher = await Publisher.create()
  publisher.nowMs = Date.now() - 3_600_000
  const first = await publisher.release(filesOf('one'), m2pack())
  const dir = await temporaryFolder()
  return {
    first,
    dir,
    flags: ['--dir', dir, '--server', address, '--trust', publisher.trust, '--program', 'client.mjs'],
  }
}

async function installed(): Promise<World> {
  const made = await world()
  expect(await run('update', ...made.flags)).toMatchObject({ ok: true, data: { outcome: 'updated', trust: 'current' } })
  return made
}

async function inText(
  command: string,
  ...args: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [main, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const told = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (part: string) => {
      told[name] += part
    })
  return { code: await new Promise<number | null>((resolve) => child.once('close', resolve)), ...told }
}

async function check({ dir, flags }: World, wanted: Expected): Promise<void> {
  const update = await run('update', ...flags)
  expect(update.ok ? update.data['outcome'] : update.error, update.message).toBe(wanted.update)
  expect((await inText('status', ...flags)).stdout).toMatch(wanted.words)
  expect(await readFile(join(dir, 'edition.txt'), 'utf8').catch(() => 'nothing')).toBe(wanted.edition)
  const out = join(dir, '.updates/out.txt')
  await writeFile(out, 'not started')
  const start = await run('launch', ...flags, '--offline', '--', out)
  if (wanted.plays === true) {
    expect([start.code, await readFile(out, 'utf8')]).toEqual([0, key.hex])
    expect(start.data).toMatchObject({ offline: true, trust: wanted.trust })
  } else {
    expect([start.code, start.error, await readFile(out, 'utf8')]).toEqual([start.code, wanted.plays, 'not started'])
    expect(start.code).not.toBe(0)
  }
}

const withoutReleaseOne = (roles: Publisher['roles']) => ({
  roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
  revokedKeys: [keyId('release 1')],
})
const withoutHeadOne = (roles: Publisher['roles']) => ({
  roles: { ...roles.roles, head: { keys: [keyId('head 2')], threshold: 1 } },
  revokedKeys: [keyId('head 1')],
})
const current = /current: verified: this release comes from its publisher and is the newest known/
const stale = /stale: verified, but the server could not confirm lately that it is the newest/
const barred = /barred: must not be played: the keys that vouched for it were withdrawn/
const forked = /forked: verified; the publisher contradicts itself, so nothing new is installed for now/

const rows: Record<string, () => Promise<[World, Expected]>> = {
  'first install': async () => {
    const made = await world()
    expect((await run('status', ...made.flags)).data).toMatchObject({ trust: 'pinned', version: null })
    return [made, { update: 'updated', trust: 'current', plays: true, edition: 'one', words: current }]
  },
  'first install, the log ends before the pin': async () => {
    const made = await world()
    await publisher.rotate()
    const pinned = publisher.events.at(-1)
    const flags = made.flags.map((flag) =>
      flag === publisher.trust ? `did:keri:${pinned?.prefix}?sn=1&said=${pinned?.said}` : flag,
    )
    publisher.tree.set(`kel/${pinned?.prefix}.cesr`, publisher.events[0]?.message as Uint8Array)
    return [
      { ...made, flags },
      {
        update: 'TRUST_PIN',
        trust: 'pinned',
        plays: 'LA_NOT_INSTALLED',
        edition: 'nothing',
        words: /pinned: nothing was verified yet/,
      },
    ]
  },
  'normal update': async () => {
    const made = await installed()
    await publisher.release(filesOf('two'), m2pack())
    return [made, { update: 'updated', trust: 'current', plays: true, edition: 'two', words: current }]
  },
  'a head that ended': async () => {
    const made = await installed()
    const next = await publisher.release(filesOf('two'), m2pack())
    await publisher.head(next, { nowMs: Date.now() - 8 * DAY })
    return [made, { update: 'MAN_EXPIRED', trust: 'stale', plays: true, edition: 'one', words: stale }]
  },
  'role or identity turned': async () => {
    const made = await installed()
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
    }))
    await publisher.head(await publisher.resign(made.first, ['release 2']))
    return [made, { update: 'up-to-date', trust: 'current', plays: true, edition: 'one', words: current }]
  },
  'release key stolen: what its successor signed again plays on': async () => {
    const made = await installed()
    await publisher.rotate(withoutReleaseOne)
    await publisher.head(await publisher.resign(made.first, ['release 2']))
    return [made, { update: 'up-to-date', trust: 'current', plays: true, edition: 'one', words: current }]
  },
  'release key stolen: what only the stolen key signed is barred': async () => {
    const made = await installed()
    await publisher.rotate(withoutReleaseOne)
    await publisher.head(made.first)
    return [made, { update: 'MAN_KEY_RETIRED', trust: 'barred', plays: 'TRUST_LOST', edition: 'one', words: barred }]
  },
  'release key stolen: the thief installs nothing that no head pins': async () => {
    const made = await installed()
    await publisher.release(filesOf('evil'), { ...m2pack(), headSigners: ['thief'] })
    return [made, { update: 'MAN_KEY_UNKNOWN', trust: 'stale', plays: true, edition: 'one', words: stale }]
  },
  'content key revoked': async () => {
    const made = await world()
    const listed = { 'pack/a.m2p': { bytes: new TextEncoder().encode('archive'), keyId: 4 } }
    await publisher.release({ ...filesOf('one'), ...listed }, m2pack())
    await run('update', ...made.flags)
    const next = contentKey(5)
    await publisher.release(
      { ...filesOf('two'), 'runtime-key.json': next.json, 'big.bin': 'x' },
      { format: 'm2pack', place: { contentKeys: [{ ...key.entry, status: 'revoked' }, next.entry] } },
    )
    // The signed list is known, the files cannot be fetched.
    server.lie = { where: /^files\//, how: (_request, socket) => answer(socket, new Uint8Array(0), '404 Not Found') }
    return [
      made,
      { update: 'LA_HTTP_STATUS', trust: 'barred', plays: 'MAN_KEY_REVOKED', edition: 'one', words: barred },
    ]
  },
  'head key stolen: floors hold': async () => {
    const made = await installed()
    await publisher.release(filesOf('two'), m2pack())
    await run('update', ...made.flags)
    await publisher.head(made.first)
    return [made, { update: 'MAN_ROLLBACK', trust: 'stale', plays: true, edition: 'two', words: stale }]
  },
  'head key stolen: a raised epoch resets burnt sequences': async () => {
    const made = await installed()
    await publisher.head(made.first, { head: (head) => ({ ...head, sequence: 900 }) })
    expect((await run('update', ...made.flags)).ok).toBe(true)
    await publisher.rotate((roles) => ({ ...withoutHeadOne(roles), epoch: 2 }))
    publisher.manifestSequence = 0
    await publisher.release(filesOf('two'), {
      ...m2pack({ epoch: 2 }),
      version: '2026.11.22-1',
      headSigners: ['head 2'],
    })
    return [made, { update: 'updated', trust: 'current', plays: true, edition: 'two', words: current }]
  },
  'two manifests at one sequence': async () => {
    const made = await installed()
    await publisher.release(filesOf('rival'), m2pack({ sequence: 1 }))
    return [made, { update: 'MAN_EQUIVOCATION', trust: 'forked', plays: true, edition: 'one', words: forked }]
  },
  'two heads at one sequence': async () => {
    const made = await installed()
    const next = await publisher.release(filesOf('two'), m2pack())
    await publisher.head(next, { head: (head) => ({ ...head, sequence: 1 }) })
    return [made, { update: 'MAN_EQUIVOCATION', trust: 'forked', plays: true, edition: 'one', words: forked }]
  },
  'current identity key stolen: interaction events of the thief change nothing': async () => {
    const made = await installed()
    await publisher.interact([{ d: 'I'.padEnd(44, 'A') }] as never).catch(() => undefined)
    await publisher.release(filesOf('two'), m2pack())
    return [made, { update: 'updated', trust: 'current', plays: true, edition: 'two', words: current }]
  },
  'next identity key stolen: a rival of what was seen is forked': async () => {
    const made = await installed()
    const rival = await Publisher.create()
    rival.nowMs = publisher.nowMs
    await rival.rotate((roles) => ({ revokedKeys: [...roles.revokedKeys, keyId('somebody')] }))
    await publisher.rotate()
    await publisher.head(made.first)
    expect((await run('update', ...made.flags)).ok).toBe(true)
    const [path = ''] = [...rival.tree.keys()].filter((name) => name.startsWith('kel/'))
    publisher.tree.set(path, rival.tree.get(path) as Uint8Array)
    publisher.tree.set('roles/2.json', rival.tree.get('roles/2.json') as Uint8Array)
    return [made, { update: 'KEL_DUPLICITY', trust: 'forked', plays: true, edition: 'one', words: forked }]
  },
  'identity lost: plays on when everything ended': async () => {
    const made = await world()
    const ending = await publisher.release(filesOf('ending'), m2pack())
    // A head of seven days that is over in a moment, but not before it was installed.
    let isIn = false
    for (let leftMs = 4_000; !isIn; leftMs *= 2) {
      await publisher.head(ending, { nowMs: Date.now() - 7 * DAY + leftMs })
      isIn = (await run('update', ...made.flags)).ok
    }
    await expect
      .poll(async () => (await run('update', ...made.flags)).error, { timeout: 90_000, interval: 500 })
      .toBe('MAN_EXPIRED')
    return [made, { update: 'MAN_EXPIRED', trust: 'stale', plays: true, edition: 'ending', words: stale }]
  },
  'a captive portal for every address': async () => {
    const made = await installed()
    server.lie = {
      where: /./,
      how: (_request, socket) => answer(socket, new TextEncoder().encode('<html>Sign in</html>')),
    }
    return [made, { update: 'LA_REDIRECT', trust: 'current', plays: true, edition: 'one', words: current }]
  },
  'no server at a later start': async () => {
    const made = await installed()
    server.lie = { where: /./, how: (_request, socket) => void socket.destroy() }
    return [made, { update: 'LA_NETWORK', trust: 'current', plays: true, edition: 'one', words: current }]
  },
}

describe.skipIf(!existsSync(main))('states of trust, by the real program', () => {
  it.each(Object.keys(rows))('%s', async (name) => {
    server.lie = undefined
    const [made, wanted] = await (rows[name] as (typeof rows)[string])()
    await check(made, wanted)
    server.lie = undefined
  })

  it('a captive portal in place of a manifest is not a wrong signature: what is installed plays, online too (rows 199, 414)', async () => {
    server.lie = undefined
    const made = await installed()
    await publisher.release(filesOf('two'), m2pack())
    server.lie = {
      where: /manifests\/.*-2\.json$/,
      how: (_request, socket) => answer(socket, new TextEncoder().encode('<html>Sign in</html>')),
    }
    await check(made, { update: 'LA_REDIRECT', trust: 'current', plays: true, edition: 'one', words: current })
    const out = join(made.dir, '.updates/out.txt')
    expect(await run('launch', ...made.flags, '--', out)).toMatchObject({
      code: 0,
      data: { version: '2026.11.21-1', client_exit_code: 0 },
    })
    server.lie = undefined
  })

  it('a wrong signature bars play until the player says otherwise, in words and by exit code', async () => {
    server.lie = undefined
    const { dir, flags } = await installed()
    const bad = await publisher.release(filesOf('two'), m2pack())
    publisher.tree.set(
      `channels/stable/manifests/${bad.model.version}.json`,
      bad.bytes.map((byte, at) => (at === bad.bytes.length - 40 ? byte ^ 1 : byte)),
    )
    const out = join(dir, '.updates/out.txt')
    const refused = await run('launch', ...flags, '--', out)
    expect(refused).toMatchObject({
      code: 4,
      error: 'LA_BARRED',
      message: 'Cannot start: the newest release carries a wrong signature',
    })
    expect(existsSync(out)).toBe(false)
    expect(await run('launch', ...flags, '--play-installed', '--', out)).toMatchObject({
      code: 0,
      data: { version: '2026.11.21-1', client_exit_code: 0 },
    })
    expect(await readFile(out, 'utf8')).toBe(key.hex)
  })

  it('without a server the player reads once, with the host, what is started (row 188)', async () => {
    const { dir, flags } = await installed()
    server.lie = { where: /./, how: (_request, socket) => void socket.destroy() }
    const host = new URL(address).host.replaceAll('.', '\\.')
    const launched = await inText('launch', ...flags, '--', join(dir, '.updates/out.txt'))
    expect(launched).toMatchObject({ code: 0, stdout: '' })
    expect(launched.stderr).toMatch(
      new RegExp(`^LA_NETWORK: Cannot fetch from ${host}: \\S[^\\n]*; starting 2026\\.11\\.21-1 offline\\n$`),
    )
    const updated = await inText('update', ...flags)
    expect(updated.code).toBe(3)
    expect(updated.stderr).toMatch(new RegExp(`^error: Cannot fetch from ${host}: [^\\n]*\\n  LA_NETWORK\\n$`))
    server.lie = undefined
  })

  it('without a server nothing can be installed (row 188)', async () => {
    const { flags } = await world()
    server.lie = { where: /./, how: (_request, socket) => void socket.destroy() }
    for (const command of ['update', 'launch'])
      expect(await run(command, ...flags)).toMatchObject({ code: 3, error: 'LA_NETWORK' })
    server.lie = undefined
  })

  it('the exit code says that the client failed, not how', async () => {
    const made = await world()
    await publisher.release(
      {
        ...filesOf('one'),
        'client.mjs':
          "process.argv[2] === 'kill' ? process.kill(process.pid, 'SIGTERM') : process.exit(Number(process.argv[2]))",
      },
      m2pack(),
    )
    for (const [how, data] of [
      ['0', { client_exit_code: 0 }],
      ['6', { client_exit_code: 6 }],
      ['kill', { client_exit_code: null, client_signal: 'SIGTERM' }],
    ] as const) {
      expect(await run('launch', ...made.flags, '--', how)).toMatchObject({ code: how === '0' ? 0 : 1, ok: true, data })
    }
    expect(await inText('launch', ...made.flags, '--', '6')).toMatchObject({
      code: 1,
      stderr: 'LA_CLIENT_FAILED: The client ended with 6\n',
    })
  })
})
