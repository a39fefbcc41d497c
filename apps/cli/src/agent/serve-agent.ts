import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import type { Clock } from '@keyturn/primitives'
import { MAX_LINE_BYTES, parseLine, PATIENCE_MS } from './protocol.ts'
import type { AgentReply } from './protocol.ts'

/** How often the agent looks at its clocks, milliseconds. */
const TICK_MS = 1_000
/** A machine whose clocks differ by more, or that did nothing for longer, was asleep. */
const SLEEP_MS = 15_000
const MAX_CONNECTIONS = 16

/** Why an agent locked itself. */
export type AgentEnd = 'expired' | 'slept' | 'locked' | 'stopped'

/** What an agent holds, and for how long. */
export interface AgentOptions {
  readonly address: string
  /** Wiped when the agent ends. */
  readonly passphrase: Uint8Array
  readonly forMs: number
  /** Ends it. */
  readonly signal: AbortSignal
  readonly clock: Clock
  /** Milliseconds that never jump; on most systems they stand still while the machine sleeps. */
  readonly monotonic: () => number
  /** Calls `tick` about every second until the agent ends; returns what stops that. */
  readonly every: (tick: () => void, ms: number) => () => void
}

/** An agent that listens. */
export interface Agent {
  readonly untilMs: number
  /** Settles when it has locked: nothing is in memory and no socket is left. */
  readonly ended: Promise<AgentEnd>
}

/**
 * Lends a passphrase to the commands of this user: until `keyturn lock`, or its time is over, the machine slept, or it
 * is stopped. Nothing of it is ever on disk but the socket.
 */
export async function serveAgent(options: AgentOptions): Promise<Agent> {
  const { address, passphrase, clock } = options
  const untilMs = clock() + options.forMs
  let end: (reason: AgentEnd) => void = () => undefined
  const reason = new Promise<AgentEnd>((resolve) => {
    end = resolve
  })
  const reply = (want: unknown): AgentReply | undefined => {
    if (isOver(options, watch)) return undefined
    if (want === 'passphrase') return { version: 1, untilMs, passphrase: Buffer.from(passphrase).toString('base64') }
    if (want !== 'status' && want !== 'lock') return undefined
    if (want === 'lock') setImmediate(() => end('locked'))
    return { version: 1, untilMs }
  }
  const server = createServer({ allowHalfOpen: true }, (socket) => converse(socket, reply))
  server.maxConnections = MAX_CONNECTIONS
  await listen(server, address)
  const watch = startWatch(options)
  const stopTicks = options.every(() => {
    const over = isOver(options, watch)
    if (over !== undefined) end(over)
  }, TICK_MS)
  const stop = (): void => end('stopped')
  if (options.signal.aborted) stop()
  options.signal.addEventListener('abort', stop, { once: true })
  const ended = reason.then((why) => {
    passphrase.fill(0)
    stopTicks()
    server.close()
    if (process.platform !== 'win32') rmSync(address, { force: true })
    return why
  })
  return { untilMs, ended }
}

/** The clocks when the agent began and when it last looked. */
interface Watch {
  readonly untilMs: number
  readonly untilMonotonic: number
  clock: number
  monotonic: number
}

function startWatch({ clock, monotonic, forMs }: AgentOptions): Watch {
  const [now, still] = [clock(), monotonic()]
  return { untilMs: now + forMs, untilMonotonic: still + forMs, clock: now, monotonic: still }
}

/** Asked before each answer, too: after a sleep a command may come before the next tick. */
function isOver({ clock, monotonic }: AgentOptions, watch: Watch): AgentEnd | undefined {
  const [now, still] = [clock(), monotonic()]
  const [passed, awake] = [now - watch.clock, still - watch.monotonic]
  // A clock that was set back would otherwise make the time longer, too.
  if (Math.abs(passed - awake) > SLEEP_MS || awake > SLEEP_MS) return 'slept'
  watch.clock = now
  watch.monotonic = still
  return now >= watch.untilMs || still >= watch.untilMonotonic ? 'expired' : undefined
}

async function listen(server: Server, address: string): Promise<void> {
  // The socket is closed to others from the moment it is there.
  const umask = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(address, () => resolve())
    })
  } finally {
    process.umask(umask)
  }
  if (process.platform !== 'win32') chmodSync(address, 0o600)
}

function converse(socket: Socket, reply: (want: unknown) => AgentReply | undefined): void {
  let line = ''
  socket.setTimeout(PATIENCE_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.setEncoding('utf8').on('data', (text: string) => {
    line += text
    if (line.length > MAX_LINE_BYTES) return socket.destroy()
    if (!line.includes('\n')) return undefined
    const answer = reply(parseLine(line)?.['want'])
    return answer === undefined ? socket.destroy() : socket.end(`${JSON.stringify(answer)}\n`)
  })
}
