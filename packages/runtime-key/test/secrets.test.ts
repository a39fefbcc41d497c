import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { hexEncode, utf8Encode } from '@keyturn/primitives'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  assertKeyIdMatches,
  assertListed,
  openKeyAnswer,
  parseRuntimeKeyBlob,
  parseRuntimeKeyJson,
  RuntimeKey,
  writeKeyAnswer,
  writeRuntimeKeyBlob,
} from '../src/index.ts'
import * as core from '../src/index.ts'
import { deliveryNamed, envDelivery, receiveRuntimeKey, sharedMemoryDelivery } from '../src/node/index.ts'
import * as node from '../src/node/index.ts'
import { program } from './children/harness.ts'
import { verifier } from './fixtures.ts'
import { countInMemory, countInWindow, formsOf } from './memory-scan.ts'

// docs/reliability.md: what a marker key may never show up in. The marker is fresh in each run.
const marker = Uint8Array.from(randomBytes(32))
const forms = formsOf(marker)
const markerKey = (): RuntimeKey => RuntimeKey.take({ keyId: 4, masterKey: marker.slice(), signPublicKey: verifier })
const leaks = (text: string): number =>
  countInWindow(Buffer.from(text, 'latin1'), forms) + countInWindow(Buffer.from(text, 'utf8'), forms)

let folder: string
const started: ChildProcess[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secrets-'))
})
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** The next line a child says. */
async function lineOf(child: ChildProcess): Promise<string> {
  const [data] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  return data.toString().trim()
}

/** Starts a launcher that has delivered its key by `name`; gives it and the pid of its child. */
async function launcher(name: 'env' | 'fd' | 'shared-memory'): Promise<{ process: ChildProcess; childPid: number }> {
  const file = join(folder, 'runtime-key.bin')
  const blob = writeRuntimeKeyBlob(markerKey())
  writeFileSync(file, blob, { mode: 0o600 })
  const child = spawn(process.execPath, ['--expose-gc', program('deliverer.ts'), file, name], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  started.push(child)
  const childPid = Number(await lineOf(child))
  rmSync(file)
  return { process: child, childPid }
}

/** Files of /proc of every process that can be read, the exceptions aside. */
function procFiles(name: 'environ' | 'cmdline', except: readonly number[] = []): string {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && !except.includes(Number(pid)))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/${name}`, 'latin1')
      } catch {
        return ''
      }
    })
    .join('\n')
}

describe('secrets', { timeout: 600_000 }, () => {
  it('§9.1: no error, printout, JSON or stack holds the key', async () => {
    const hex = hexEncode(marker)
    const json = (change: object): Uint8Array =>
      utf8Encode(JSON.stringify({ key_id: 4, master_key_hex: hex, sign_pubkey_hex: hexEncode(verifier), ...change }))
    const blob = writeRuntimeKeyBlob(markerKey())
    const bad = (at: number): Uint8Array => blob.map((byte, position) => (position === at ? byte ^ 0xff : byte))
    const tries: (() => unknown)[] = [
      () => parseRuntimeKeyJson(json({ key_id: hex })),
      () => parseRuntimeKeyJson(json({ master_key_hex: `${hex} ` })),
      () => parseRuntimeKeyJson(json({ master_key_hex: hex.toUpperCase() })),
      () => parseRuntimeKeyJson(json({ sign_pubkey_hex: undefined })),
      () => parseRuntimeKeyJson(json({ sign_pubkey_hex: '00'.repeat(32) })),
      () => parseRuntimeKeyJson(utf8Encode(`{"master_key_hex":"${hex}`)),
      () => parseRuntimeKeyJson(utf8Encode(`{"${hex}":1,"${hex}":2}`)),
      () => parseRuntimeKeyBlob(bad(0)),
      () => parseRuntimeKeyBlob(bad(8)),
      () => parseRuntimeKeyBlob(blob.subarray(1)),
      () => assertKeyIdMatches(markerKey(), 5),
      () => assertListed(markerKey(), []),
      () => assertListed(markerKey(), [{ keyId: 4, verifierPub: hex, commitment: hex, status: 'active' }]),
      () => openKeyAnswer(writeKeyAnswer({ runtimeKey: markerKey() }), 9),
      () => RuntimeKey.take({ keyId: 0, masterKey: marker.slice() }),
      () => receiveRuntimeKey({ env: { M2PACK_MASTER_KEY_HEX: `${hex}0` }, argv: [] }),
      () => receiveRuntimeKey({ env: { M2PACK_MASTER_KEY_HEX: hex }, argv: [] }),
      () => receiveRuntimeKey({ env: {}, argv: ['--m2pack-key-hex', hex] }),
      () => receiveRuntimeKey({ env: { M2PACK_KEY_MAP: `/${hex}` }, argv: [] }),
    ]
    let thrown = 0
    for (const attempt of tries) {
      try {
        attempt()
      } catch (error) {
        thrown += 1
        for (let cause = error; cause instanceof Error; cause = cause.cause) {
          expect(
            leaks(
              `${cause.message} ${cause.stack} ${JSON.stringify(cause)} ${JSON.stringify({ ...cause })} ` +
                `${inspect(cause, { depth: 9, showHidden: true })}`,
            ),
          ).toBe(0)
        }
      }
    }
    expect(thrown).toBe(tries.length)
    for (const delivery of [envDelivery(), deliveryNamed('fd'), sharedMemoryDelivery()]) {
      const failed: unknown = await delivery
        .deliver(markerKey(), { file: join(folder, 'missing') })
        .catch((error: unknown) => error)
      expect(leaks(inspect(failed, { depth: 9, showHidden: true }))).toBe(0)
    }
    const key = markerKey()
    expect(leaks(inspect({ key, core, node }, { depth: 9, showHidden: true }))).toBe(0)
    expect(leaks(`${JSON.stringify({ key })} ${key}`)).toBe(0)
  })

  it.each(['fd', 'shared-memory'] as const)(
    '§9.2, §9.3: %s leaves it in no environment and no argument on this machine',
    async (name) => {
      const { childPid } = await launcher(name)
      expect(childPid).toBeGreaterThan(0)
      expect(leaks(procFiles('environ'))).toBe(0)
      expect(leaks(procFiles('cmdline'))).toBe(0)
    },
  )

  it('§9.2, §9.3: env shows it in the environment of the one child, as stated, and nowhere else', async () => {
    const { childPid } = await launcher('env')
    expect(leaks(readFileSync(`/proc/${childPid}/environ`, 'latin1'))).toBeGreaterThan(0)
    expect(leaks(procFiles('environ', [childPid]))).toBe(0)
    expect(leaks(procFiles('cmdline'))).toBe(0)
  })

  it.each(['fd', 'shared-memory'] as const)(
    '§9.4, §9.5: by %s, after dispose() neither launcher nor client has it in memory or heap snapshot',
    async (name) => {
      const blob = join(folder, 'runtime-key.bin')
      const { process: parent } = await launcher(name)
      expect(countInMemory(parent.pid as number, forms)).toBe(0)
      writeFileSync(blob, '')

      const client = await deliveryNamed(name, { timeoutMs: 240_000 }).deliver(markerKey(), {
        file: process.execPath,
        args: ['--expose-gc', program('holder.ts')],
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      started.push(client.child)
      await client.received
      expect(await lineOf(client.child)).toBe('holding')
      // The scanner finds a key that is live: so it is not a scanner that never finds anything.
      expect(countInMemory(client.child.pid as number, forms)).toBeGreaterThan(0)
      client.child.stdin?.write('dispose\n')
      expect(await lineOf(client.child)).toBe('disposed')
      expect(countInMemory(client.child.pid as number, forms)).toBe(0)
      client.child.stdin?.write(`snapshot ${join(folder, 'heap.heapsnapshot')}\n`)
      const snapshot = await lineOf(client.child)
      expect(countInWindow(readFileSync(snapshot), forms)).toBe(0)
    },
  )

  it('§9.6: after suppressCoreDumps() neither launcher nor client leaves a core file', async () => {
    const { process: parent, childPid } = await launcher('fd')
    for (const pid of [parent.pid as number, childPid]) {
      expect(readFileSync(`/proc/${pid}/coredump_filter`, 'utf8').trim()).toBe('00000000')
      expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/Max core file size\s+0\s+0/)
    }
    parent.stdin?.write('crash\n')
    const [, signal] = (await once(parent, 'exit')) as [number | null, string | null]
    expect(signal).toBe('SIGSEGV')
    expect(readdirSync(folder).filter((file) => file.startsWith('core'))).toEqual([])
    process.kill(childPid)
  })

  it('§9.7, §9.8: with umask 000 every file it makes is 0600 from birth, and gone afterwards', async () => {
    const old = process.umask(0)
    try {
      const { child, received } = await sharedMemoryDelivery({ folder, timeoutMs: 200 }).deliver(markerKey(), {
        file: '/bin/sleep',
        args: ['3600'],
        stdio: ['ignore', 'ignore', 'ignore'],
      })
      for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
      await expect(received).rejects.toThrow()
      child.kill()
    } finally {
      process.umask(old)
    }
    expect(readdirSync(folder)).toEqual([])
    expect(readdirSync('/dev/shm').filter((name) => name.startsWith(`M2PackSharedKeys-${process.pid}-`))).toEqual([])
    chmodSync(folder, 0o700)
  })
})
