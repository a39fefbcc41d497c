import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReleaseServerClient } from '@keyturn/release-client'
import { launcherLine, runLaunchers } from '../test/launcher-client.ts'
import { createTokenByCommand, runServer } from '../test/processes.ts'
import { TestPublisher } from '../test/publisher.ts'

// What launchers wait for: one server process on folder and SQLite, each launcher on a connection of its own that stays
// open. Once they come over some seconds, as after an announcement; once all at the same moment, where the wait is the
// time that all of them together take. A bare node:http answer to the same load is the limit of the second.

const launchers = Number(process.env['BENCH_LAUNCHERS'] ?? 2000)
const spreadMs = Number(process.env['BENCH_SPREAD_SECONDS'] ?? 10) * 1000
const prof = process.env['BENCH_PROFILE']

async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** The least that Node can do: every answer the same bytes from memory. */
async function bareServer(bodies: Record<string, string>): Promise<{ url: string; stop(): void }> {
  const script = `
    const bodies = JSON.parse(process.argv[1])
    const server = require('node:http').createServer((request, response) => {
      const body = Buffer.from(bodies[request.url] ?? '', 'base64')
      response.writeHead(200, ['Content-Length', String(body.length)])
      response.end(body)
    })
    server.listen(0, '127.0.0.1', 8192, () => console.log('http://127.0.0.1:' + server.address().port))`
  const child = spawn(process.execPath, ['-e', script, JSON.stringify(bodies)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const url = await new Promise<string>((resolve) => {
    child.stdout.once('data', (part) => resolve(String(part).trim()))
  })
  return { url, stop: () => child.kill('SIGKILL') }
}

const folder = await mkdtemp(join(tmpdir(), 'keyturn-bench-'))
const environment = {
  KEYTURN_DATA_DIR: join(folder, 'data'),
  KEYTURN_TRUST_PROXY: 'true',
  ...(prof === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${prof}` }),
}
const token = await createTokenByCommand(environment)
const server = await runServer(environment)
try {
  const client = new ReleaseServerClient(server.url, { token })
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const release = await publisher.release({
    'a.bin': new Uint8Array(randomBytes(50_000)),
    'b.txt': new Uint8Array(randomBytes(10)),
  })
  await publisher.publish(client, release)
  const paths = [
    '/head.json',
    `/channels/stable/manifests/${release.model.version}.json`,
    `/channels/stable/manifests/${release.model.version}.sigs.json`,
    ...release.blobs.map(({ sha256 }) => `/files/${sha256.slice(0, 2)}/${sha256}`),
  ]
  const bodies = Object.fromEntries(
    await Promise.all(
      paths.map(async (path) => [
        path,
        Buffer.from((await client.fetchPublic(path)) ?? new Uint8Array(0)).toString('base64'),
      ]),
    ),
  )
  const bare = await bareServer(bodies)
  const measure = async (name: string, url: string, pid: number | undefined, ms: number): Promise<void> => {
    const before = pid === undefined ? 0 : await cpuSeconds(pid)
    const figures = await runLaunchers(url, launchers, ms)
    const spent =
      pid === undefined
        ? ''
        : `; ${((((await cpuSeconds(pid)) - before) * 1e6) / figures.requests).toFixed(0)} us of processor a request`
    console.log(`${name.padEnd(36)} ${launcherLine(figures)}${spent}`)
    for (const failure of new Set(figures.failures)) console.log(failure)
  }
  for (let round = 0; round < 2; round++) {
    await measure(`over ${spreadMs / 1000} s`, server.url, server.child.pid, spreadMs)
    await measure(`over ${spreadMs / 1000} s, bare node:http`, bare.url, undefined, spreadMs)
    await measure('all at once', server.url, server.child.pid, 0)
    await measure('all at once, bare node:http', bare.url, undefined, 0)
  }
  bare.stop()
} finally {
  await server.stop(prof === undefined ? 'SIGKILL' : 'SIGTERM')
  await rm(folder, { recursive: true, force: true })
}
