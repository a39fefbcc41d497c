import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { incept, interact, seedSigner } from '@keyturn/kel/owner'
import type { SignedEvent } from '@keyturn/kel/owner'
import { signKill } from '@keyturn/manifest/kill'
import { concatBytes, ed25519PublicKey, sha256Hex } from '@keyturn/primitives'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { percentile } from '../test/launcher-client.ts'
import { createTokenByCommand, runServer } from '../test/processes.ts'
import type { ServerProcess } from '../test/processes.ts'
import { seedOf, signerOf, TestPublisher } from '../test/publisher.ts'
import { anonymousAttacks } from './anonymous-attacks.ts'
import type { Attack } from './anonymous-attacks.ts'

// Sends each route that needs no token its worst input, from 8 connections for LOAD_SECONDS (default 60), each request
// from an address of its own, so that only the budgets of all addresses together help. Meanwhile another thread asks
// /healthz ten times a second: its 99th percentile stays at 100 ms or less, and the memory of the server at 512 MiB.
// On a machine that is busy with other things the first says little; so the longest stretch that the server computes
// without a turn of its event loop is measured in time of the processor, and stays at 50 ms or less.
//
// node campaign/anonymous.ts [PART OF A NAME …]: only these attacks, such as "reports" "a body for no route".

const seconds = Number(process.env['LOAD_SECONDS'] ?? 60)
const CONNECTIONS = 8
const MOST_MS = 100
const MOST_MIB = 512
const MOST_BLOCKED_MS = 50
/** After this a new process has loaded what it loads, and reported how long that took. */
const STARTED_MS = 1500

const folder = await mkdtemp(join(tmpdir(), 'keyturn-anonymous-'))
const passphrase = join(folder, 'passphrase')
await writeFile(passphrase, 'a passphrase of the vault', { mode: 0o600 })
const environment = {
  KEYTURN_DATA_DIR: join(folder, 'data'),
  KEYTURN_TRUST_PROXY: 'true',
  KEYTURN_PASSPHRASE_FILE: passphrase,
  KEYTURN_WITNESS_NAME: 'witness.example/keyturn',
}
const loopFile = join(folder, 'loop')
await writeFile(loopFile, '')
const token = await createTokenByCommand(environment)
const runWatched = (): Promise<ServerProcess> =>
  runServer({
    ...environment,
    KEYTURN_LOOP_FILE: loopFile,
    NODE_OPTIONS: `--import ${new URL('loop-watch.ts', import.meta.url).href}`,
  })
let server = await runWatched()
const client = new ReleaseServerClient(server.url, { token })
const publisher = await TestPublisher.create()
await publisher.introduce(client)
const release = await publisher.release(
  Object.fromEntries(Array.from({ length: 190 }, (_, at) => [`data/${at}.bin`, new Uint8Array(randomBytes(100))])),
)
await publisher.publish(client, release)

/** The address of a blob of 16 MiB. */
async function pinnedBlob(): Promise<string> {
  const bytes = new Uint8Array(randomBytes(16 * 1024 * 1024))
  await client.uploadBlob(blobFromBytes(bytes))
  const sha256 = sha256Hex(bytes)
  return `/files/${sha256.slice(0, 2)}/${sha256}`
}

/** A log with as many new events as the witness takes in one request, and after them as many as it takes at all. */
async function longLog(
  name: string,
  { isWitnessed = true, maxBytes = 1024 * 1024 } = {},
): Promise<{ prefix: string; said: string; pieces: Uint8Array[] }> {
  const { prefix } = (await (await fetch(`${server.url}/witness`)).json()) as { prefix: string }
  const signer = seedSigner([seedOf(`${name}0`)])
  const first: SignedEvent = await incept(
    {
      keys: [ed25519PublicKey(seedOf(`${name}0`))],
      nextKeys: [ed25519PublicKey(seedOf(`${name}1`))],
      ...(isWitnessed ? { witnesses: [prefix], witnessThreshold: 1 } : {}),
    },
    signer,
  )
  let last = first
  const messages = [last.message]
  const pieces: Uint8Array[] = []
  let length = last.message.length
  for (;;) {
    last = await interact(last.state, [], signer)
    length += last.message.length
    if (length > maxBytes) break
    messages.push(last.message)
    if (messages.length % 450 === 0) pieces.push(concatBytes(...messages))
  }
  return { prefix: first.prefix, said: first.said, pieces: [...pieces, concatBytes(...messages)] }
}

const strange = (await longLog('a')).pieces.at(-1) as Uint8Array
const short = strange.subarray(0, strange.indexOf(0x7b, 63_000))
const own = await longLog('b')
await client.createProduct({ slug: 'own', pin: `did:keri:${own.prefix}?sn=0&said=${own.said}` })
/** An identity whose statements about devices count, as anyone can read in a statement of its own. */
const attester = await longLog('c', { isWitnessed: false, maxBytes: 290_000 })
const attested = attester.pieces.at(-1) as Uint8Array
await client.putAttester('metin2', attester.prefix, attested.subarray(0, attested.indexOf(0x7b, 1000)))
const attacks = anonymousAttacks({
  product: 'metin2',
  version: release.model.version,
  blob: await pinnedBlob(),
  strange,
  short,
  own: own.pieces,
  attester: attester.prefix,
  attested,
  kill: await signKill({ product: 'metin2', issuedAt: '2026-01-01T00:00:00Z' }, signerOf('stranger')),
})

/** Well-formed, so that it is looked up. */
const WRONG_TOKEN = { authorization: `Bearer m2t_${'a'.repeat(16)}_${'a'.repeat(43)}` }
let callers = 0
async function send({ method = 'GET', path, type, body, headers = WRONG_TOKEN }: Attack): Promise<number> {
  callers += 1
  const address = `10.${(callers >> 16) & 255}.${(callers >> 8) & 255}.${callers & 255}`
  try {
    const answer = await fetch(server.url + path, {
      method,
      headers: {
        'x-forwarded-for': address,
        ...headers,
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
  /** Longest stretch without a turn of the event loop, and use per request, in milliseconds of the processor. */
  readonly blockedMs: number
  readonly usedMs: number
  readonly statuses: ReadonlyMap<number, number>
}

/** What the server noted about its event loop since a moment. */
async function loopSince(since: number): Promise<{ blockedMs: number; usedMs: number }> {
  const lines = (await readFile(loopFile, 'utf8'))
    .split('\n')
    .map((line) => line.split(' ').map(Number))
    .filter(([at = 0]) => at >= since)
  const used = (line: readonly number[] | undefined): number => line?.[2] ?? 0
  return {
    blockedMs: Math.max(0, ...lines.map(([, most = 0]) => most)),
    usedMs: used(lines.at(-1)) - used(lines[0]),
  }
}

async function attack(each: Attack): Promise<Figures> {
  const begun = Date.now()
  const end = Date.now() + seconds * 1000
  const statuses = new Map<number, number>()
  let mebibytes = 0
  const connection = async (): Promise<void> => {
    while (Date.now() < end) {
      const status = await send(each)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  const watcher = async (): Promise<void> => {
    while (Date.now() < end) {
      mebibytes = Math.max(mebibytes, await residentMebibytes())
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const health = new Worker(new URL('health-watch.ts', import.meta.url), { workerData: { url: server.url } })
  const asked = once(health, 'message') as Promise<[number[]]>
  await Promise.all([watcher(), ...Array.from({ length: CONNECTIONS }, connection)])
  health.postMessage('over')
  const [waits] = await asked
  const requests = [...statuses.values()].reduce((sum, count) => sum + count, 0)
  const { blockedMs, usedMs } = await loopSince(begun)
  return { p99: percentile(waits, 0.99), mebibytes, blockedMs, usedMs: usedMs / Math.max(1, requests), statuses }
}

/** Those named on the command line by a part of their names; all, if none is. */
function chosenAttacks(): readonly Attack[] {
  const parts = process.argv.slice(2)
  const unknown = parts.find((part) => !attacks.some(({ name }) => name.includes(part)))
  if (unknown !== undefined)
    throw new Error(`No attack is called "${unknown}". There are:\n${attacks.map(({ name }) => name).join('\n')}`)
  return attacks.filter(({ name }) => parts.length === 0 || parts.some((part) => name.includes(part)))
}

try {
  for (const each of chosenAttacks()) {
    // A fresh process has its budgets whole, so that the worst of each route is reached.
    await server.stop()
    server = await runWatched()
    await (await fetch(`${server.url}/healthz`)).arrayBuffer()
    await new Promise((resolve) => setTimeout(resolve, STARTED_MS))
    const { p99, mebibytes, blockedMs, usedMs, statuses } = await attack(each)
    const held = p99 <= MOST_MS && mebibytes <= MOST_MIB && blockedMs <= MOST_BLOCKED_MS
    if (!held) process.exitCode = 1
    const counted = [...statuses].map(([status, count]) => `${count} of ${status === 0 ? 'no answer' : status}`)
    const figures = [
      `/healthz p99 ${p99.toFixed(0)} ms`,
      `blocked ${blockedMs.toFixed(0)} ms`,
      `${usedMs.toFixed(2)} ms a request`,
      `${mebibytes.toFixed(0)} MiB`,
    ]
    console.log(`${held ? 'held  ' : 'FAILED'} ${each.name.padEnd(40)} ${[...figures, ...counted].join(', ')}`)
  }
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}
