import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { utf8Encode } from '@keyturn/primitives'
import { parsePolicy } from '@keyturn/tlog'
import type { Policy } from '@keyturn/tlog'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../src/config.ts'
import { optionsFromConfig } from '../src/from-config.ts'
import { LogMonitor } from '../src/tlog/log-monitor.ts'
import type { LogMonitorSettings } from '../src/tlog/log-monitor.ts'
import { readMonitored } from '../src/tlog/monitored-logs.ts'
import { MAIN } from './processes.ts'
import { TestPublisher } from './publisher.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const vault = { passphrase: 'test', scryptLogN: 10 }
const ORIGIN = 'log.example/p/metin2/log'
const policyOf = (text: string): Policy => parsePolicy(utf8Encode(text))

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20)
}

/** A webhook that writes down what it gets, and can be out of order. */
async function startHook(): Promise<{ url: string; bodies: string[]; answer: { status: number } }> {
  const bodies: string[] = []
  const answer = { status: 200 }
  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (part: string) => (text += part))
    request.once('end', () => {
      if (answer.status === 200) bodies.push(text)
      response.writeHead(answer.status).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  atEnd(() => new Promise((resolve) => server.close(resolve)))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, bodies, answer }
}

/** A server with a log, and the server of another party that watches it. */
async function stage() {
  const own = await startServer({ vault, releaseLog: { origin: 'log.example', policy: policyOf('quorum none\n') } })
  const client = await own.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('a') }))
  await until(async () => (await client.getReleaseLog('metin2'))?.size === 3)
  const { key } = (await client.getReleaseLog('metin2'))!
  const hook = await startHook()
  let nowMs = Date.now()
  const other = await startServer({ clock: () => nowMs })
  const lies: { fetch?: typeof fetch } = {}
  const settings: LogMonitorSettings = {
    policy: policyOf(`log ${key} ${own.url}/p/metin2/log\nquorum none\n`),
    webhook: hook.url,
    http: { fetch: (...request) => (lies.fetch ?? fetch)(...request) },
  }
  const monitor = new LogMonitor(other.server.context, settings)
  atEnd(() => monitor.close())
  const look = async (laterMs = 60_000): Promise<readonly string[]> => {
    nowMs += laterMs
    await monitor.lookAtAll()
    return (await readMonitored(other.server.context.metadata, ORIGIN))!.findings
  }
  const token = await other.token(['releases:read'])
  const health = async (named: boolean): Promise<unknown[]> => {
    const headers: HeadersInit = named ? { authorization: `Bearer ${token}` } : {}
    return ((await (await fetch(`${other.url}/readyz`, { headers })).json()) as { checks: unknown[] }).checks
  }
  return { own, client, publisher, key, hook, other, look, lies, health }
}

describe('a server that watches the log of another party', () => {
  it('reads what is new, finds nothing while all is well, and goes on where it stopped', async () => {
    const { client, publisher, look, other, hook } = await stage()
    expect(await look()).toEqual([])
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('b') }))
    await until(async () => (await client.getReleaseLog('metin2'))!.size === 5)
    expect(await look()).toEqual([])
    expect(await readMonitored(other.server.context.metadata, ORIGIN)).toMatchObject({
      size: 5,
      releases: { stable: 2 },
    })
    // Another replica has just looked.
    expect(await look(1000)).toEqual([])
    expect(hook.bodies).toEqual([])
  })

  it('finds an offer that is not in the log at the second look, and sends it once (row 392)', async () => {
    const { own, publisher, look, hook, health } = await stage()
    await look()
    // The log stops: what is offered from now on is in no log.
    await own.server.close()
    const silent = await startServer({ dataDir: own.dataDir, vault, port: Number(new URL(own.url).port) })
    const admin = await silent.client(['admin'])
    await publisher.publish(admin, await publisher.release({ 'a.txt': utf8Encode('special') }))
    expect(await look()).toEqual([])
    const name = `watched-log:${ORIGIN}`
    expect(await health(true)).toContainEqual({ name, status: 'pass', detail: '3 entries, nothing is wrong' })
    hook.answer.status = 500
    const finding = [expect.stringContaining('Channel stable offers what is not the newest in the log')]
    expect(await look()).toEqual(finding)
    expect(await health(true)).toContainEqual({ name, status: 'warn', detail: finding[0] })
    const detail = '1 of 1 have findings; ask with a token for their names'
    expect(await health(false)).toContainEqual({ name: 'watched-logs', status: 'warn', detail })
    expect(hook.bodies).toEqual([])
    hook.answer.status = 200
    expect(await look()).toEqual(finding)
    expect(await look()).toEqual(finding)
    expect(hook.bodies.map((body) => JSON.parse(body) as object)).toEqual([
      { origin: ORIGIN, size: 3, findings: finding },
    ])
  })

  it('finds a log that was rewritten, and one that is silent for more than an hour', async () => {
    const { look, lies, own } = await stage()
    await look()
    const elsewhere = await stage()
    expect(elsewhere.key).not.toBe('')
    // Another log in its place: signed by a key that is not the log's.
    lies.fetch = (input, init) => fetch(String(input).replace(own.url, elsewhere.own.url), init)
    expect(await look()).toEqual([expect.stringContaining('is signed by none of the known keys')])
    lies.fetch = () => Promise.reject(new Error('down'))
    expect(await look()).toHaveLength(1)
    expect(await look(3_700_000)).toEqual([expect.stringContaining('has not answered since')])
    delete lies.fetch
    expect(await look()).toEqual([])
  })

  it('is set by two variables, and shown by a command that exits with 1: SRV_CONFIG without addresses', async () => {
    const { key, own } = await stage()
    const dataDir = await temporaryFolder()
    const file = join(dataDir, 'watched')
    await writeFile(file, `log ${key}\nquorum none\n`)
    const environment = {
      KEYTURN_DATA_DIR: dataDir,
      KEYTURN_MONITOR_POLICY_FILE: file,
      KEYTURN_MONITOR_WEBHOOK: 'https://hook.example/',
    }
    await expect(optionsFromConfig(await readConfig(environment))).rejects.toMatchObject({ code: 'SRV_CONFIG' })
    // An address that answers with another log.
    await writeFile(file, `log ${key} ${own.url}/p/other/log\nquorum none\n`)
    const options = await optionsFromConfig(await readConfig(environment))
    expect(options.logMonitor).toMatchObject({ webhook: 'https://hook.example/' })
    const old = Date.now() - 7_200_000
    const watching = await startServer({ ...options, clock: () => old })
    await until(async () => (await readMonitored(watching.server.context.metadata, ORIGIN)) !== undefined)
    await watching.server.close()
    const again = await startServer({ ...(await optionsFromConfig(await readConfig(environment))) })
    await until(async () => (await readMonitored(again.server.context.metadata, ORIGIN))!.findings.length > 0)
    await again.server.close()
    const child = spawn(process.execPath, ['--no-warnings', MAIN, '--json', 'monitored-logs'], {
      env: { PATH: process.env['PATH'] ?? '', KEYTURN_DATA_DIR: dataDir },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.on('data', (part) => (text += String(part)))
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect([code, text]).toEqual([1, expect.stringContaining('has not answered since')])
  })
})
