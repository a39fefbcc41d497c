import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it } from 'vitest'
import { concatBytes } from '@keyturn/primitives'
import { lockFile } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { checkStream, Kel, KelError, memoryStore, verifyLogStream } from '../src/index.ts'
import { incept, interact, rotate } from '../src/owner/index.ts'
import { collectReceipts, localWitness } from '../src/witness/index.ts'
import { fileLog } from '../src/node/index.ts'
import { Actor, key, signer } from './support/actors.ts'
import { forge, rotationFields } from './support/forge.ts'

const folders: string[] = []
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function logPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kel-catalogue-'))
  folders.push(folder)
  return join(folder, 'identity.cesr')
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'no error'
  } catch (error) {
    if (error instanceof KelError) return error.code
    throw error
  }
}

describe('catalogue of bad logs', () => {
  it('a shorter log offered after a longer one changes nothing: the tip stays (row 126)', async () => {
    const actor = await Actor.start()
    const { prefix } = actor.state
    await actor.rotate()
    await actor.interact()
    const storage = memoryStore().log(prefix)
    const kel = await Kel.open(storage, prefix)
    for (const message of actor.messages) await kel.append(message)
    for (const message of actor.messages.slice(0, 2)) expect((await kel.append(message)).outcome).toBe('known')
    expect(kel.state.said).toBe(actor.state.said)
    expect(await (await Kel.open(storage, prefix)).export()).toEqual(actor.log)
  })

  it('a rotation that removes an unknown witness or adds a present one (row 134)', async () => {
    const witnesses = [90, 91].map((n) => localWitness(signer(n), memoryStore()))
    const first = await incept(
      { keys: [key(0)], nextKeys: [key(1)], witnesses: witnesses.map(({ prefix }) => prefix), witnessThreshold: 1 },
      signer(0),
    )
    const { message } = await collectReceipts(first, witnesses)
    const text = (n: number): string => localWitness(signer(n), memoryStore()).prefix
    const verdict = (change: Record<string, unknown>): string => {
      const { messages } = checkStream(
        concatBytes(message, forge(rotationFields(first.prefix, first.said, 1, 1, { bt: '1', ...change }), 1).message),
      )
      return messages.at(-1)?.verdict ?? 'none'
    }
    // Well formed, it waits for its witnesses.
    expect(verdict({ br: [text(90)], ba: [text(92)] })).toBe('escrow:partial-witness')
    expect(verdict({ br: [text(92)] })).toBe('reject:witness')
    expect(verdict({ ba: [text(91)] })).toBe('reject:witness')
    expect(verdict({ br: [text(90)], ba: [text(90)] })).toBe('reject:witness')
    expect(verdict({ br: [text(90), text(90)] })).toBe('reject:witness')
    expect(verdict({ ba: [text(93), text(93)] })).toBe('reject:witness')
  })

  it('a thousand events that come too early wait, the next is refused, and all come out when their turn is there (row 135)', async () => {
    const actor = await Actor.start()
    for (let count = 0; count < 1002; count++) await actor.interact()
    const { prefix } = actor.state
    const kel = await Kel.open(memoryStore().log(prefix), prefix)
    for (const message of actor.messages.slice(2, 1002)) expect((await kel.append(message)).outcome).toBe('waiting')
    expect(await codeOf(kel.append(actor.messages[1002]!))).toBe('KEL_ESCROW_FULL')
    expect(kel.waiting).toHaveLength(1000)
    await kel.append(actor.messages[0]!)
    expect((await kel.append(actor.messages[1]!)).accepted).toHaveLength(1001)
    expect(kel.state.sn).toBe(1001)
    expect(kel.waiting).toEqual([])
  })

  it('what waits is bounded in bytes too (row 135)', async () => {
    const actor = await Actor.start()
    const seals = Array.from({ length: 1000 }, () => ({ d: actor.state.said, i: 'x'.repeat(100) }))
    for (let count = 0; count < 30; count++) await actor.interact(...seals)
    const { prefix } = actor.state
    const kel = await Kel.open(memoryStore().log(prefix), prefix)
    let held = 0
    let answer = 'no error'
    for (const message of actor.messages.slice(2)) {
      answer = await codeOf(kel.append(message))
      if (answer !== 'no error') break
      held += message.length
    }
    expect(answer).toBe('KEL_ESCROW_FULL')
    expect(held).toBeLessThanOrEqual(4 * 1024 * 1024)
  })

  // `pnpm bench` verifies 20,000 events; docs/benchmarks.md has the run of 100,000.
  it('a long log is verified as it comes, in memory that does not grow with its bytes (row 136)', async () => {
    const eventCount = Number(process.env['KEL_LONG_LOG'] ?? 4000)
    const sizes: number[] = []
    async function* events(): AsyncGenerator<Uint8Array> {
      const actor = await Actor.start()
      for (let sn = 0; sn < eventCount; sn++) {
        yield actor.messages.pop() as Uint8Array
        if (sn === eventCount >> 2 || sn === eventCount - 1) sizes.push(liveBytes())
        if (sn % 20 === 19) await actor.rotate()
        else await actor.interact({ d: actor.state.said, i: 'x'.repeat(4000) })
      }
    }
    const tip = await verifyLogStream(events())
    expect(tip.eventCount).toBe(eventCount)
    // Over 4,000 bytes an event went through; of each its SAID is kept.
    const [early = 0, late = 0] = sizes
    expect((late - early) / eventCount).toBeLessThan(2000)
  })

  it('a writer that finds the log locked gives KEL_LOCK and leaves it alone (row 139)', async () => {
    const path = await logPath()
    const actor = await Actor.start()
    const { prefix } = actor.state
    const kel = await Kel.open(fileLog(path, { lockWaitMs: 0 }), prefix)
    await kel.append(actor.messages[0]!)
    await actor.interact()
    const lock = await lockFile(`${path}.lock`, { waitMs: 0 })
    expect(await codeOf(kel.append(actor.messages[1]!))).toBe('KEL_LOCK')
    expect(new Uint8Array(await readFile(path))).toEqual(actor.messages[0])
    await lock.release()
    expect((await kel.append(actor.messages[1]!)).outcome).toBe('accepted')
  })

  it('the lock of a process that was killed is taken over (row 139)', async () => {
    const path = await logPath()
    const actor = await Actor.start()
    const { prefix } = actor.state
    const kel = await Kel.open(fileLog(path, { lockWaitMs: 0 }), prefix)
    const script = `import(${JSON.stringify(import.meta.resolve('@keyturn/primitives/node'))}).then(async ({ lockFile }) => {
      await lockFile(${JSON.stringify(`${path}.lock`)}, { waitMs: 0 })
      process.stdout.write('held')
      setInterval(() => {}, 1000)
    })`
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(holder.stdout, 'data')
    expect(await codeOf(kel.append(actor.messages[0]!))).toBe('KEL_LOCK')
    const ended = once(holder, 'exit')
    holder.kill('SIGKILL')
    await ended
    expect((await kel.append(actor.messages[0]!)).outcome).toBe('accepted')
  })

  it('a rotation on a full disk appends nothing, and the key in force still signs (row 142)', async () => {
    const path = await logPath()
    const actor = await Actor.start()
    const { prefix } = actor.state
    await (await Kel.open(fileLog(path), prefix)).append(actor.messages[0]!)
    const rotation = await rotate(actor.state, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
    let refused = 0
    for (let at = 0; ; at++) {
      const fs = faultFileSystem({ plan: { at, mode: 'fail', code: 'ENOSPC' } })
      const answer = await codeOf(
        (await Kel.open(fileLog(path, { fs, lockWaitMs: 0 }), prefix).catch(() => undefined))?.append(
          rotation.message,
        ) ?? Promise.resolve(),
      )
      if (!fs.fired) break
      const bytes = new Uint8Array(await readFile(path))
      if (answer === 'KEL_IO') {
        refused++
        // A failed release of the lock comes after the event was written and synced: it is then whole.
        expect([actor.log.length, actor.log.length + rotation.message.length]).toContain(bytes.length)
        const { state } = await Kel.open(fileLog(path), prefix)
        expect(state.publicKeys).toEqual([key(state.sn)])
      }
      await rm(`${path}.lock`, { force: true })
      if (bytes.length > actor.log.length) break
    }
    expect(refused).toBeGreaterThan(0)
    const kel = await Kel.open(fileLog(path), prefix)
    const next = await interact(kel.state, [], signer(kel.state.sn))
    expect((await kel.append(next.message)).outcome).toBe('accepted')
  })
})

/** What is really in use: garbage not yet collected says nothing. */
function liveBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  collect()
  return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
}
