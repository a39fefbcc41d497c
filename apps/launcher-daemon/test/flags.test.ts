import { spawn } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { storedSettings } from '@keyturn/install-engine'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { LauncherProgram } from '../src/program/program.ts'
import { LyingServer } from '../../../packages/install-engine/test/support/lying-server.ts'
import { noise, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
let publisher: Publisher
let server: LyingServer
let other: LyingServer
let [address, otherAddress] = ['', '']
const made: string[] = []

beforeAll(async () => {
  publisher = await Publisher.create()
  publisher.nowMs = Date.now() - 60_000
  await publisher.release({ 'game.mjs': 'process.exitCode = 0', 'big.bin': noise(900_000, 2) })
  server = new LyingServer(() => publisher.tree)
  other = new LyingServer(() => publisher.tree)
  address = await server.listen()
  otherAddress = await other.listen()
})
afterAll(async () => {
  await server.close()
  await other.close()
})
afterEach(async () => {
  server.lie = undefined
  for (const folder of made.splice(0)) await rm(folder, { recursive: true, force: true, maxRetries: 9, retryDelay: 50 })
})

async function folder(): Promise<string> {
  const place = await mkdtemp(join(tmpdir(), 'keyturn-flags-'))
  made.push(place)
  return place
}

interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a command line in this process. */
async function run(args: readonly string[], signal = new AbortController().signal): Promise<Said> {
  let [out, err] = ['', '']
  const program = new LauncherProgram({
    stdout: { write: (text) => (out += text) },
    stderr: { isTTY: true, columns: 80, write: (text) => (err += text) },
    env: { ...process.env },
    signal,
    programFolder: '/nowhere',
  })
  return { code: await program.run(args), out, err }
}

describe('keyturn-launcher', () => {
  it('remembers server and trust as soon as the publisher is proven, so that an interrupted first download goes on', async () => {
    const dir = await folder()
    const stop = new AbortController()
    server.lie = { where: /files/, how: () => stop.abort(Object.assign(new Error('Stopped'), { name: 'AbortError' })) }
    const first = await run(['update', '--dir', dir, '--server', address, '--trust', publisher.trust], stop.signal)
    expect(first.err).toContain('what was downloaded is kept')
    server.lie = undefined
    expect(await run(['update', '--dir', dir])).toMatchObject({ code: 0 })
    expect(existsSync(join(dir, 'big.bin'))).toBe(true)
  })

  it('takes --server, --program and --delivery for one time where others are remembered, and keeps them with --save', async () => {
    const dir = await folder()
    await run(['update', '--dir', dir, '--server', address, '--trust', publisher.trust])
    await run(['update', '--dir', dir, '--program', 'game.mjs'])
    await run(['update', '--dir', dir, '--server', otherAddress, '--program', 'x.mjs', '--limit', '5000000'])
    expect(await storedSettings(dir)).toMatchObject({ server: address, limit: 5_000_000, program: ['game.mjs'] })
    await run(['update', '--dir', dir, '--server', otherAddress, '--program', 'game.mjs', '--save'])
    expect(await storedSettings(dir)).toMatchObject({ server: otherAddress, program: ['game.mjs'] })
  })

  it('takes its bar away before the client writes', async () => {
    const dir = await folder()
    await run(['update', '--dir', dir, '--server', address, '--trust', publisher.trust])
    const { err, code } = await run(['launch', '--dir', dir, '--program', 'game.mjs'])
    expect(code).toBe(0)
    expect(err.endsWith('\r\u001b[K')).toBe(true)
  })

  it('prints no control characters that a server sent', async () => {
    const dir = await folder()
    server.lie = {
      where: /./,
      how: (_request, socket) =>
        socket.end('HTTP/1.1 200 OK\r\ncontent-encoding: \u009b31mred\r\ncontent-length: 0\r\n\r\n'),
    }
    const { err } = await run(['update', '--dir', dir, '--server', address, '--trust', publisher.trust])
    expect(err).toContain('LA_ENCODING')
    // eslint-disable-next-line no-control-regex
    expect(err).not.toMatch(/[\u0080-\u009f]/)
  })

  it.skipIf(!existsSync('/dev/full'))('says in one line that its output cannot be written (row 261)', async () => {
    const dir = await folder()
    await run(['update', '--dir', dir, '--server', address, '--trust', publisher.trust])
    const child = spawn(process.execPath, [main, 'status', '--dir', dir, '--json'], {
      stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
    })
    let said = ''
    child.stderr?.on('data', (part: Buffer) => (said += part.toString()))
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect([code, said]).toEqual([3, 'error: Cannot write the output: ENOSPC\n'])
  })
})
