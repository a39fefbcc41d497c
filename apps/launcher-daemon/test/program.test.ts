import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectedText, temporaryFolder, treeText } from '../../../packages/install-engine/test/support/install.ts'
import { LyingServer } from '../../../packages/install-engine/test/support/lying-server.ts'
import { contentKey, noise, Publisher, sha256Hex } from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../packages/install-engine/test/support/publisher.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))

const client = `
import { writeFileSync, readFileSync, existsSync } from 'node:fs'
import { readSync } from 'node:fs'
const fd = process.env.M2PACK_KEY_FD
let blob = ''
if (fd !== undefined) { const b = Buffer.alloc(84); readSync(Number(fd), b, 0, 84, null); blob = b.toString('hex') }
const own = existsSync('/proc/self/environ') ? readFileSync('/proc/self/environ', 'latin1') : ''
writeFileSync(process.argv[2], JSON.stringify({ env: process.env.M2PACK_MASTER_KEY_HEX ?? null, id: process.env.M2PACK_KEY_ID ?? null, blob, map: process.env.M2PACK_KEY_MAP ?? null, environHoldsKey: own.includes(process.argv[3] ?? 'nothing'), parent: existsSync('/proc') ? readFileSync('/proc/' + process.ppid + '/environ', 'latin1').includes(process.argv[3] ?? 'nothing') : false, argv: process.argv.slice(1).length }))
setTimeout(() => process.exit(Number(process.env.CLIENT_EXIT ?? 0)), 50)
`

interface Run {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  readonly json: { ok: boolean; command: string; data: Record<string, unknown>; error?: { code: string } }
}

let publisher: Publisher
let server: LyingServer
let address: string

function start(args: readonly string[], env: Record<string, string> = {}) {
  return spawn(process.execPath, [main, ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/tmp', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  const child = start(args, env)
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    stdout += part
  })
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    stderr += part
  })
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (exit, killed) => resolve([exit, killed])),
  )
  return { code, signal, stdout, stderr, json: (stdout.startsWith('{') ? JSON.parse(stdout) : {}) as Run['json'] }
}

const files = (edition: string, key: Uint8Array) => ({
  'client.mjs': client,
  'runtime-key.json': key,
  'edition.txt': edition,
  'pack/a.bin': noise(2_500_000, edition.length),
  ...Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`data/${index}.txt`, `${edition} ${index}`])),
})

beforeAll(async () => {
  publisher = await Publisher.create()
  publisher.nowMs = Date.now() - 60_000
  publisher.roles = { ...publisher.roles }
  server = new LyingServer(() => publisher.tree)
  address = await server.listen()
  first = await publisher.release(files('one', key.json), { format: 'm2pack', place: { contentKeys: [key.entry] } })
})
afterAll(async () => server.close())

const rounds = Number(process.env['KEYTURN_KILL_ROUNDS'] ?? '6')
const key = contentKey(4)
let first: MadeRelease

describe.skipIf(!existsSync(main))('keyturn-launcher', () => {
  const flags = (dir: string) => ['--dir', dir, '--server', address, '--trust', publisher.trust, '--json']

  it('installs, starts with the key in the child alone, and starts offline with exit 0', async () => {
    const dir = await temporaryFolder()
    const updated = await run(['update', ...flags(dir)])
    expect(updated.stderr).toBe('')
    expect(updated.json).toMatchObject({
      ok: true,
      command: 'update',
      data: { outcome: 'updated', version: first.model.version },
    })
    expect(await treeText(dir)).toBe(expectedText(first.files, sha256Hex))
    const out = join(dir, '.updates/out.json')
    const launched = await run(['launch', '--dir', dir, '--program', 'client.mjs', '--json', '--', out, key.hex])
    expect(launched.json).toMatchObject({ ok: true, data: { offline: false, client_exit_code: 0 } })
    expect(JSON.parse(await readFile(out, 'utf8'))).toMatchObject({ env: key.hex, id: '4', parent: false })
    server.lie = { where: /./, how: (_request, socket) => void socket.destroy() }
    const away = await run(['launch', '--dir', dir, '--json', '--', out, key.hex])
    server.lie = undefined
    expect([away.code, away.json.data['offline']]).toEqual([0, true])
    for (const text of [
      launched.stdout,
      launched.stderr,
      away.stdout,
      away.stderr,
      await readFile(join(dir, '.updates/launcher.log'), 'latin1'),
    ])
      expect(text).not.toContain(key.hex)
  })

  it('hands the key over by fd and by shared memory, with nothing in any environment', async () => {
    const dir = await temporaryFolder()
    await run(['update', ...flags(dir)])
    const out = join(dir, '.updates/out.json')
    const byFd = await run([
      'launch',
      '--dir',
      dir,
      '--program',
      'client.mjs',
      '--delivery',
      'fd',
      '--offline',
      '--json',
      '--',
      out,
      key.hex,
    ])
    expect(byFd.code).toBe(0)
    const told = JSON.parse(await readFile(out, 'utf8')) as {
      blob: string
      env: string | null
      environHoldsKey: boolean
    }
    expect(told).toMatchObject({ env: null, environHoldsKey: false })
    expect(told.blob).toContain(key.hex)
    const byMap = await run([
      'launch',
      '--dir',
      dir,
      '--program',
      'client.mjs',
      '--delivery',
      'shared-memory',
      '--offline',
      '--json',
      '--',
      out,
      key.hex,
    ])
    expect(byMap.code).toBe(0)
    const mapped = JSON.parse(await readFile(out, 'utf8')) as { map: string; env: string | null }
    expect(mapped.env).toBeNull()
    expect(existsSync(join('/dev/shm', mapped.map.replaceAll(/.*[\\/]/g, '')))).toBe(false)
  })

  it('answers with the exit codes of the table', async () => {
    const dir = await temporaryFolder()
    expect((await run(['update', '--dir', dir, '--json'])).code).toBe(2)
    expect((await run(['repair', ...flags(dir)])).code).toBe(2)
    expect(
      (
        await run([
          'update',
          '--dir',
          dir,
          '--server',
          'http://127.0.0.1:9/',
          '--trust',
          publisher.trust,
          '--json',
          '-q',
        ])
      ).code,
    ).toBe(3)
    server.lie = {
      where: /head\.json/,
      how: (_request, socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'),
    }
    const refused = await run(['update', ...flags(dir)])
    server.lie = undefined
    expect([refused.code, refused.json.ok]).toEqual([4, false])
    expect((await run(['nonsense'])).code).toBe(2)
    expect((await run(['--help'])).code).toBe(0)
    expect((await run(['status', ...flags(dir)])).json.data).toMatchObject({ version: null, trust: 'stale' })
    await run(['update', ...flags(dir)])
    expect((await run(['rollback', '--dir', dir, '--json'])).code).toBe(1)
    await writeFile(join(dir, 'mine.txt'), 'mine')
    expect((await run(['uninstall', '--dir', dir, '--json'])).json.data).toMatchObject({ kept_files: [] })
    expect(await treeText(dir)).toBe(`mine.txt ${sha256Hex(new TextEncoder().encode('mine'))}`)
  })

  it('quit waits for the end of the launcher, and uninstall removes nothing under it (row 380)', async () => {
    const dir = await temporaryFolder()
    await run(['update', ...flags(dir)])
    const before = await treeText(dir)
    const child = start(['run', '--dir', dir, '--json'])
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const refused = await run(['uninstall', '--dir', dir, '--json'])
    expect([refused.code, refused.json]).toMatchObject([6, { ok: false, error: { code: 'LA_LOCKED' } }])
    expect(await treeText(dir)).toBe(before)
    let hasEnded = false
    child.once('exit', () => (hasEnded = true))
    expect((await run(['quit', '--dir', dir, '--json'])).code).toBe(0)
    expect(existsSync(join(dir, '.updates/daemon.lock'))).toBe(false)
    expect((await run(['uninstall', '--dir', dir, '--json'])).json).toMatchObject({ ok: true })
    while (!hasEnded) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(existsSync(join(dir, '.updates'))).toBe(false)
  })

  it('killed with SIGKILL anywhere in an update is old or new at the next start, never mixed', async () => {
    const second = await publisher.release(files('second edition', key.json), {
      format: 'm2pack',
      place: { contentKeys: [key.entry] },
    })
    const sides = { old: 0, new: 0 }
    const base = await temporaryFolder()
    for (let round = 0; round < rounds; round++) {
      const dir = join(base, String(round))
      await publisher.head(first, { nowMs: publisher.nowMs })
      const seeded = await run(['update', ...flags(dir)])
      expect(seeded.json, seeded.stdout + seeded.stderr).toMatchObject({ ok: true })
      await publisher.head(second, { nowMs: publisher.nowMs })
      const child = start(['update', '--dir', dir, '--events'])
      const phase = ['commit', 'swap', 'finalize', 'stage', 'fetch', 'prune'][round % 6] ?? 'swap'
      child.stderr.setEncoding('utf8').on('data', (part: string) => {
        if (part.includes(`"state":"${phase}"`)) setTimeout(() => child.kill('SIGKILL'), round)
      })
      await new Promise((resolve) => child.once('close', resolve))
      await run([
        'launch',
        '--dir',
        dir,
        '--program',
        'client.mjs',
        '--offline',
        '--json',
        '--',
        join(base, 'out.json'),
      ])
      const tree = await treeText(dir)
      const side =
        tree === expectedText(first.files, sha256Hex)
          ? 'old'
          : tree === expectedText(second.files, sha256Hex)
            ? 'new'
            : 'mixed'
      expect(side, `round ${round}, killed at ${phase}`).not.toBe('mixed')
      sides[side as 'old' | 'new'] += 1
    }
    console.info(`SIGKILL of the real program: ${sides.old} old, ${sides.new} new, 0 mixed`)
    expect(sides.old + sides.new).toBeGreaterThan(0)
  })

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'ends at once on %s, in the middle of a download, and keeps what it has (row 223)',
    async (signal) => {
      const dir = await temporaryFolder()
      const child = start(['update', ...flags(dir), '--limit', '200000', '--events'])
      await new Promise<void>((resolve) =>
        child.stderr.setEncoding('utf8').on('data', (part: string) => {
          if (part.includes('"event":"progress"') && part.includes('"phase":"fetch"')) resolve()
        }),
      )
      child.kill(signal)
      const code = await new Promise((resolve) => child.once('close', resolve))
      expect(code).toBe(5)
      expect(
        (
          await run([
            'update',
            '--dir',
            dir,
            '--server',
            address,
            '--trust',
            publisher.trust,
            '--limit',
            '100000000',
            '--json',
          ])
        ).code,
      ).toBe(0)
    },
  )

  it('ends on a signal in the middle of an apply with the old release or the new one (row 223)', async () => {
    await publisher.head(first, { nowMs: publisher.nowMs })
    const dir = await temporaryFolder()
    await run(['update', ...flags(dir)])
    const second = await publisher.release(files('third edition', key.json), {
      format: 'm2pack',
      place: { contentKeys: [key.entry] },
    })
    const child = start(['update', '--dir', dir, '--events'])
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      if (part.includes('"state":"swap"')) child.kill('SIGTERM')
    })
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
    const tree = await treeText(dir)
    const side =
      tree === expectedText(first.files, sha256Hex)
        ? 'old'
        : tree === expectedText(second.files, sha256Hex)
          ? 'new'
          : 'mixed'
    expect([code, side]).toEqual(side === 'new' ? [code, 'new'] : [5, 'old'])
    expect([0, 5]).toContain(code)
  })

  it('runs one daemon per install, and takes over from one that was killed (row 217)', async () => {
    const dir = await temporaryFolder()
    const ready = async (child: ReturnType<typeof start>): Promise<string> => {
      for await (const line of child.stdout)
        if (String(line).includes('Ready at ')) return String(line).trim().slice('Ready at '.length)
      return 'ended'
    }
    const args = ['run', '--dir', dir, '--server', address, '--trust', publisher.trust]
    const daemon = start(args)
    expect(await ready(daemon)).toMatch(/^http:\/\/127\.0\.0\.1:/)
    expect(await run([...args, '--json'])).toMatchObject({ code: 6, json: { ok: false, error: { code: 'LA_LOCKED' } } })
    const killed = new Promise((resolve) => daemon.once('close', resolve))
    daemon.kill('SIGKILL')
    await killed
    const next = start(args)
    expect(await ready(next)).toMatch(/^http:\/\/127\.0\.0\.1:/)
    const ended = new Promise((resolve) => next.once('close', resolve))
    next.kill('SIGTERM')
    expect(await ended).toBe(0)
    expect(existsSync(join(dir, '.updates/api.json'))).toBe(false)
  })
})
