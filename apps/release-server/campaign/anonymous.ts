import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { incept, interact, seedSigner } from '@keyturn/kel'
import type { SignedEvent } from '@keyturn/kel'
import { concatBytes, ed25519PublicKey } from '@keyturn/primitives'
import { ReleaseServerClient } from '@keyturn/release-client'
import { percentile } from '../test/launcher-client.ts'
import { createTokenByCommand, runServer } from '../test/processes.ts'
import { seedOf, TestPublisher } from '../test/publisher.ts'

// Sends each route that needs no token its worst input, from 8 connections for LOAD_SECONDS (default 60), each request
// from an address of its own, so that only the budgets of all addresses together help. Meanwhile someone asks /healthz
// ten times a second: its 99th percentile stays at 100 ms or less, and the memory of the server at 512 MiB or less.

const seconds = Number(process.env['LOAD_SECONDS'] ?? 60)
const CONNECTIONS = 8
const MOST_MS = 100
const MOST_MIB = 512

interface Attack {
  readonly name: string
  readonly method?: string
  readonly path: string
  readonly type?: string
  readonly body?: () => Uint8Array | string
}

const folder = await mkdtemp(join(tmpdir(), 'keyturn-anonymous-'))
const passphrase = join(folder, 'passphrase')
await writeFile(passphrase, 'a passphrase of the vault', { mode: 0o600 })
const environment = {
  KEYTURN_DATA_DIR: join(folder, 'data'),
  KEYTURN_TRUST_PROXY: 'true',
  KEYTURN_PASSPHRASE_FILE: passphrase,
}
const token = await createTokenByCommand(environment)
const server = await runServer(environment)
const client = new ReleaseServerClient(server.url, { token })
const publisher = await TestPublisher.create()
await publisher.introduce(client)
const release = await publisher.release(
  Object.fromEntries(Array.from({ length: 190 }, (_, at) => [`data/${at}.bin`, new Uint8Array(randomBytes(100))])),
)
await publisher.publish(client, release)

/** A log as long as the witness takes one. */
async function longLog(): Promise<Uint8Array> {
  const { prefix } = (await (await fetch(`${server.url}/witness`)).json()) as { prefix: string }
  const signer = seedSigner([seedOf('a0')])
  let last: SignedEvent = await incept(
    {
      keys: [ed25519PublicKey(seedOf('a0'))],
      nextKeys: [ed25519PublicKey(seedOf('a1'))],
      witnesses: [prefix],
      witnessThreshold: 1,
    },
    signer,
  )
  const messages = [last.message]
  let length = last.message.length
  for (;;) {
    last = await interact(last.state, [], signer)
    length += last.message.length
    if (length > 1024 * 1024) return concatBytes(...messages)
    messages.push(last.message)
  }
}

const log = await longLog()
const text = (length: number): string => 'x'.repeat(length)
const attacks: readonly Attack[] = [
  { name: 'nothing but /healthz', path: '/startupz' },
  { name: 'the largest document', path: '/manifest.json' },
  { name: 'a path with every trick', path: `/files/${'%2e%2e%2f'.repeat(400)}` },
  { name: 'a body for no route', method: 'POST', path: '/nowhere', body: () => text(4 * 1024 * 1024) },
  {
    name: 'a large body and a wrong token',
    method: 'PUT',
    path: `/v1/blobs/${'ab'.repeat(32)}`,
    body: () => text(4 * 1024 * 1024),
  },
  {
    name: 'deep JSON',
    method: 'POST',
    path: '/v1/reports',
    type: 'application/json',
    body: () => `${'['.repeat(2000)}${']'.repeat(2000)}`,
  },
  {
    name: 'reports of a release',
    method: 'POST',
    path: '/v1/reports',
    type: 'application/json',
    body: () =>
      JSON.stringify({
        product: 'metin2',
        channel: 'stable',
        version: release.model.version,
        result: 'failed',
        code: `A${randomBytes(12).toString('hex').toUpperCase()}`,
      }),
  },
  {
    name: 'the longest log for the witness',
    method: 'POST',
    path: '/witness/receipts',
    type: 'application/cesr',
    body: () => log,
  },
  { name: 'receipts of nobody', path: `/witness/receipts?pre=${'E'.repeat(44)}&sn=1` },
  {
    name: 'packets for the relay',
    method: 'PUT',
    path: `/pkarr/${'y'.repeat(52)}`,
    type: 'application/pkarr.org/relays#payload',
    body: () => randomBytes(1072),
  },
  {
    name: 'key exchanges',
    method: 'POST',
    path: '/noise/runtime-key',
    type: 'application/octet-stream',
    body: () => randomBytes(145),
  },
  {
    name: 'statements about devices',
    method: 'POST',
    path: '/v1/products/metin2/devices::attest',
    type: 'application/json',
    body: () =>
      JSON.stringify({
        prefix: 'E'.repeat(44),
        document: text(10_000),
        statement: text(10_000),
        log: Buffer.from(log.subarray(0, 60_000)).toString('base64'),
      }),
  },
  {
    name: 'logins',
    method: 'POST',
    path: '/dashboard/login',
    type: 'application/json',
    body: () => JSON.stringify({ token: text(1000) }),
  },
]

let callers = 0
async function send({ method = 'GET', path, type, body }: Attack): Promise<number> {
  callers += 1
  const address = `10.${(callers >> 16) & 255}.${(callers >> 8) & 255}.${callers & 255}`
  try {
    const answer = await fetch(server.url + path, {
      method,
      headers: {
        'x-forwarded-for': address,
        authorization: 'Bearer kt_wrong',
        ...(type === undefined ? {} : { 'content-type': type }),
      },
      ...(body === undefined ? {} : { body: body() as string | Uint8Array<ArrayBuffer> }),
    })
    await answer.arrayBuffer()
    return answer.status
  } catch {
    // The server ends a connection whose body nobody wants.
    return 0
  }
}

async function residentMebibytes(): Promise<number> {
  const status = await readFile(`/proc/${server.child.pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
}

interface Figures {
  readonly p99: number
  readonly mebibytes: number
  readonly statuses: ReadonlyMap<number, number>
}

async function attack(each: Attack): Promise<Figures> {
  const end = Date.now() + seconds * 1000
  const statuses = new Map<number, number>()
  const waits: number[] = []
  let mebibytes = 0
  const connection = async (): Promise<void> => {
    while (Date.now() < end) {
      const status = await send(each)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  const watcher = async (): Promise<void> => {
    while (Date.now() < end) {
      const begun = performance.now()
      await (await fetch(`${server.url}/healthz`)).arrayBuffer()
      waits.push(performance.now() - begun)
      mebibytes = Math.max(mebibytes, await residentMebibytes())
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  await Promise.all([watcher(), ...Array.from({ length: CONNECTIONS }, connection)])
  return { p99: percentile(waits, 0.99), mebibytes, statuses }
}

try {
  for (const each of attacks) {
    const { p99, mebibytes, statuses } = await attack(each)
    const held = p99 <= MOST_MS && mebibytes <= MOST_MIB
    if (!held) process.exitCode = 1
    const counted = [...statuses].map(([status, count]) => `${count} of ${status === 0 ? 'no answer' : status}`)
    console.log(
      `${held ? 'held  ' : 'FAILED'} ${each.name.padEnd(32)} /healthz p99 ${p99.toFixed(0)} ms, ${mebibytes.toFixed(0)} MiB; ${counted.join(', ')}`,
    )
  }
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}
