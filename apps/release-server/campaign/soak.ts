import { randomBytes } from 'node:crypto'
import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReleaseServerClient } from '@keyturn/release-client'
import { launcherLine, LauncherConnection, percentile, runLaunchers } from '../test/launcher-client.ts'
import { createTokenByCommand, runServer } from '../test/processes.ts'
import { TestPublisher } from '../test/publisher.ts'

// Soak: one server process under everything it does all day, for CAMPAIGN_MINUTES (default 30): launchers that come and
// go, publishes, uploads, rollouts, reports, refused requests, garbage collection. Told each minute: memory, open
// descriptors, requests, failures. At the end: growth of memory after the warm-up (first fifth), which has to be
// bounded.

const minutes = Number(process.env['CAMPAIGN_MINUTES'] ?? 30)
const folder = await mkdtemp(join(tmpdir(), 'keyturn-soak-'))
const environment = { KEYTURN_DATA_DIR: join(folder, 'data'), KEYTURN_TRUST_PROXY: 'true' }
const token = await createTokenByCommand(environment)
const server = await runServer(environment)
const pid = server.child.pid ?? 0
const client = new ReleaseServerClient(server.url, { token, retryPauseMs: 200, retries: 8 })
const publisher = await TestPublisher.create()
await publisher.introduce(client)
await publisher.publish(client, await publisher.release({ 'a.bin': new Uint8Array(randomBytes(300_000)) }))
const end = Date.now() + minutes * 60_000
const over = (): boolean => Date.now() >= end

async function memory(): Promise<{ rss: number; descriptors: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const { readdir } = await import('node:fs/promises')
  return {
    rss: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
    descriptors: (await readdir(`/proc/${pid}/fd`)).length,
  }
}

const counts = { publishes: 0, requests: 0, refused: 0, failures: 0 }
const latencies: number[] = []

async function publishing(): Promise<void> {
  while (!over()) {
    const release = await publisher.release({
      'a.bin': new Uint8Array(randomBytes(300_000)),
      'b.bin': new Uint8Array(randomBytes(20_000)),
      'same.txt': new TextEncoder().encode('same'),
    })
    await publisher.publish(client, release)
    counts.publishes += 1
    if (counts.publishes % 20 === 0) await client.checkRelease('metin2', 'stable', release.model.version)
    if (counts.publishes % 50 === 0) await client.collectGarbage({ dryRun: false })
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

let launchersSoFar = 0
async function launching(): Promise<void> {
  while (!over()) {
    launchersSoFar += 50
    const figures = await runLaunchers(server.url, 50, 1000, launchersSoFar)
    counts.requests += figures.requests
    counts.failures += figures.failures.length
    latencies.push(...figures.metadata)
    if (latencies.length > 200_000) latencies.splice(0, 100_000)
    if (figures.failures.length > 0) console.log(launcherLine(figures), figures.failures[0])
  }
}

async function abusing(): Promise<void> {
  while (!over()) {
    const answers = await Promise.all(
      [
        fetch(`${server.url}/v1/products`),
        fetch(`${server.url}/files/..%2f..%2fetc/passwd`),
        fetch(`${server.url}/v1/reports`, {
          method: 'POST',
          body: 'x'.repeat(3000),
          headers: { 'content-type': 'application/json' },
        }),
        fetch(`${server.url}/v1/blobs/${'ab'.repeat(32)}`, {
          method: 'PUT',
          body: 'x',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' },
        }),
      ].map((answer) =>
        answer.then(
          async (each) => {
            await each.arrayBuffer()
            return each.status
          },
          () => 0,
        ),
      ),
    )
    counts.refused += answers.filter((status) => status >= 400).length
    const cut = new LauncherConnection(server.url, '10.9.9.9')
    const begun = cut.get('/manifest.json').catch(() => undefined)
    cut.close()
    await begun
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

const samples: { minute: number; rss: number; descriptors: number }[] = []
const started = Date.now()
const watch = setInterval(
  () => {
    void memory().then(({ rss, descriptors }) => {
      const minute = (Date.now() - started) / 60_000
      samples.push({ minute, rss, descriptors })
      console.log(
        `${minute.toFixed(1)} min: ${rss.toFixed(0)} MiB, ${descriptors} descriptors, ${counts.publishes} ` +
          `publishes, ${counts.requests} launcher requests, ${counts.refused} refused, ${counts.failures} failures, ` +
          `metadata p99 ${percentile(latencies, 0.99).toFixed(0)} ms`,
      )
    })
  },
  Math.min(60_000, (minutes * 60_000) / 12),
)
try {
  await Promise.all([publishing(), launching(), launching(), abusing()])
} finally {
  clearInterval(watch)
  const warm = samples.filter(({ minute }) => minute > minutes / 5)
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
  const [early, late] = [warm.slice(0, Math.ceil(warm.length / 3)), warm.slice(-Math.ceil(warm.length / 3))].map(
    (part) => mean(part.map(({ rss }) => rss)),
  )
  console.log(
    `${minutes} minutes: memory ${early?.toFixed(0)} MiB in the first third after the warm-up, ${late?.toFixed(0)} ` +
      `MiB in the last; most ${Math.max(...samples.map(({ rss }) => rss)).toFixed(0)} MiB; descriptors at most ` +
      `${Math.max(...samples.map(({ descriptors }) => descriptors))}; ${counts.failures} failures`,
  )
  await server.stop()
  await rm(folder, { recursive: true, force: true })
  if (counts.failures > 0 || (late ?? 0) > (early ?? 0) * 1.5 + 64) process.exitCode = 1
}
