import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8Encode } from '@keyturn/primitives'
import { serveAgent } from '../../src/agent/serve-agent.ts'
import type { Agent } from '../../src/agent/serve-agent.ts'

const FOR_MS = 15 * 60_000

let folder = ''
let passphrase = new Uint8Array(0)
let controller = new AbortController()
let tick: () => void = () => undefined
/** The wall clock and the one that stands still while the machine sleeps. */
let clocks = { wall: 0, awake: 0 }

function pass(wall: number, awake = wall): void {
  clocks = { wall: clocks.wall + wall, awake: clocks.awake + awake }
}

/** An agent under clocks that the test moves. */
async function start(): Promise<Agent> {
  return await serveAgent({
    address: join(folder, 'agent.sock'),
    passphrase,
    forMs: FOR_MS,
    signal: controller.signal,
    clock: () => clocks.wall,
    monotonic: () => clocks.awake,
    every: (call) => {
      tick = call
      return () => {
        tick = () => undefined
      }
    },
  })
}

/** Sends bytes, and gives what comes back until the connection ends. */
function send(text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(join(folder, 'agent.sock'))
    let answer = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk
    })
    socket.on('error', () => undefined)
    socket.once('close', () => resolve(answer))
    socket.write(text)
  })
}

function ask(want: string): Promise<string> {
  return send(`${JSON.stringify({ version: 1, want })}\n`)
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'agent-'))
  passphrase = utf8Encode('a passphrase')
  controller = new AbortController()
  clocks = { wall: 1_800_000_000_000, awake: 5_000 }
})
afterEach(() => {
  controller.abort()
  rmSync(folder, { recursive: true, force: true })
})

describe('serveAgent()', () => {
  it('lends the passphrase through a socket that only this user opens, and says how long', async () => {
    const { untilMs } = await start()
    expect(untilMs).toBe(clocks.wall + FOR_MS)
    if (process.platform !== 'win32') expect(statSync(join(folder, 'agent.sock')).mode & 0o777).toBe(0o600)
    expect(JSON.parse(await ask('passphrase'))).toEqual({
      version: 1,
      untilMs,
      passphrase: Buffer.from('a passphrase').toString('base64'),
    })
    expect(JSON.parse(await ask('status'))).toEqual({ version: 1, untilMs })
  })

  it.each([
    ['its time is over', 'expired', () => pass(10_000), FOR_MS / 10_000],
    ['the machine slept and its clock that stands still meanwhile shows it', 'slept', () => pass(60_000, 0), 1],
    ['the machine slept and all of its clocks went on', 'slept', () => pass(60_000), 1],
    ['the clock was set back', 'slept', () => pass(-3_600_000, 1_000), 1],
    ['the clock was set far ahead', 'slept', () => pass(3_600_000, 1_000), 1],
  ])('locks when %s', async (_what, why, move, times) => {
    const agent = await start()
    for (let at = 0; at < times; at += 1) {
      move()
      tick()
    }
    expect(await agent.ended).toBe(why)
    expect(passphrase.every((byte) => byte === 0)).toBe(true)
    expect(existsSync(join(folder, 'agent.sock'))).toBe(false)
    expect(await ask('passphrase')).toBe('')
  })

  it('gives nothing to a command that comes after a sleep and before the next tick', async () => {
    await start()
    pass(60_000, 0)
    expect(await ask('passphrase')).toBe('')
  })

  it('locks on request, and when it is stopped', async () => {
    const told = await start()
    await ask('lock')
    expect(await told.ended).toBe('locked')
    passphrase = utf8Encode('another')
    const stopped = await start()
    controller.abort()
    expect(await stopped.ended).toBe('stopped')
    expect(existsSync(join(folder, 'agent.sock'))).toBe(false)
  })

  it('answers nothing but what it knows, and outlives it', async () => {
    await start()
    for (const text of ['\n', '{}\n', '{"version":2,"want":"passphrase"}\n', 'x'.repeat(20_000), '[1]\n'])
      expect(await send(text)).toBe('')
    expect(await ask('everything')).toBe('')
    expect(JSON.parse(await ask('status'))).toMatchObject({ version: 1 })
  })
})
