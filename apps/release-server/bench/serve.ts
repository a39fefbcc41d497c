import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createReleaseServer } from '../src/index.ts'
import { ReleaseServerClient } from '@keyturn/release-client'
import { TestPublisher } from '../test/publisher.ts'
import { freePort, until } from '../test/services.ts'

// Requests per second of the public tree beside nginx, which serves the same files from the same folder: the limit that
// each figure is held against. Needs nginx; without it it says so and ends. Without wrk (Debian packages) a driver on
// Node sends the requests: slower, so only the figures per CPU-second of the servers say something then.

const run = promisify(execFile)
const seconds = Number(process.env['BENCH_SECONDS'] ?? 5)
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3)
/** A part of the name of the rows to measure; default: all. */
const only = process.env['BENCH_ONLY']

interface Result {
  readonly perSecond: number
  readonly mebibytes: number
  readonly errors: number
}

/** Where the processor time of a server is read, in seconds: a busy machine slows the clock on the wall, not this. */
type CpuTime = () => Promise<number>

const ownCpu: CpuTime = async () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Processor time of a process and its children, from /proc. */
function cpuOf(pid: number): CpuTime {
  return async () => {
    const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8'))
      .trim()
      .split(' ')
      .filter((text) => text !== '')
      .map(Number)
    let ticks = 0
    for (const each of [pid, ...children]) {
      const fields = (await readFile(`/proc/${each}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
      ticks += Number(fields[11]) + Number(fields[12])
    }
    return ticks / 100
  }
}

const hasWrk = existsSync('/usr/bin/wrk')

/** Keeps connections busy for some seconds, in a process of its own. */
const DRIVER = `
  const http = require('node:http')
  const [url, connections, seconds, ...headers] = process.argv.slice(1)
  const agent = new http.Agent({ keepAlive: true, maxSockets: Number(connections) })
  const end = Date.now() + Number(seconds) * 1000
  let [requests, bytes, errors] = [0, 0, 0]
  const names = Object.fromEntries(headers.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]))
  const next = (done) => {
    if (Date.now() > end) return done()
    http.get(url, { agent, headers: names }, (answer) => {
      answer.on('data', (part) => (bytes += part.length)).on('end', () => { requests += 1; next(done) })
    }).on('error', () => { errors += 1; next(done) })
  }
  Promise.all(Array.from({ length: Number(connections) }, () => new Promise(next))).then(() => {
    agent.destroy()
    console.log(JSON.stringify({ requests, bytes, errors }))
  })`

async function drive(url: string, connections: number, headers: readonly string[]): Promise<Result> {
  const args = ['-e', DRIVER, url, String(connections), String(seconds), ...headers]
  const { stdout } = await run(process.execPath, args)
  const { requests, bytes, errors } = JSON.parse(stdout) as { requests: number; bytes: number; errors: number }
  return { perSecond: requests / seconds, mebibytes: bytes / 1024 / 1024 / seconds, errors }
}

/**
 * The least that Node can do, in a process of its own: a server that pipes one file, or sends it from memory with an
 * entity tag.
 */
async function startBareNode(file: string, way: 'pipes' | 'from memory'): Promise<{ side: Side; stop: () => void }> {
  const port = await freePort()
  const script = `
    const { createServer } = require('node:http')
    const { createReadStream, readFileSync, statSync } = require('node:fs')
    const [file, port, way] = process.argv.slice(1)
    const length = statSync(file).size
    const body = way === 'pipes' ? undefined : readFileSync(file)
    createServer((request, response) => {
      if (request.headers['if-none-match'] !== undefined) return response.writeHead(304, ['ETag', '"1"']).end()
      response.writeHead(200, ['Content-Length', String(length)])
      if (body !== undefined) return response.end(body)
      createReadStream(file, { highWaterMark: 262144 }).pipe(response)
    }).listen(Number(port), '127.0.0.1')`
  const child = spawn(process.execPath, ['-e', script, file, String(port), way], { stdio: 'ignore' })
  await until(() => fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.arrayBuffer()))
  return { side: { url: `http://127.0.0.1:${port}/`, cpu: cpuOf(child.pid ?? 0) }, stop: () => child.kill('SIGTERM') }
}

async function wrk(url: string, connections: number, headers: readonly string[] = []): Promise<Result> {
  if (!hasWrk) return await drive(url, connections, headers)
  const { stdout } = await run('wrk', [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--timeout',
    '10s',
    ...headers.flatMap((header) => ['-H', header]),
    url,
  ])
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? 0)
  const transfer = /Transfer\/sec:\s+([\d.]+)(KB|MB|GB)/.exec(stdout)
  const unit = { KB: 1 / 1024, MB: 1, GB: 1024 }[transfer?.[2] ?? 'MB'] ?? 1
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)
  return {
    perSecond: number(/Requests\/sec:\s+([\d.]+)/),
    mebibytes: Number(transfer?.[1] ?? 0) * unit,
    errors: errors === null ? 0 : errors.slice(1).reduce((sum, part) => sum + Number(part), 0),
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

interface Side {
  readonly url: string
  readonly cpu: CpuTime
}

async function measure(
  side: Side,
  by: 'perSecond' | 'mebibytes',
  connections: number,
  headers: readonly string[],
): Promise<{ value: number; perCpu: number; errors: number }> {
  const before = await side.cpu()
  const result = await wrk(side.url, connections, headers)
  const spent = (await side.cpu()) - before
  return { value: result[by], perCpu: (result[by] * seconds) / Math.max(spent, 0.01), errors: result.errors }
}

/** Measures both in turn, so that a busy machine slows both. */
async function compare(
  name: string,
  ours: Side,
  theirs: Side,
  by: 'perSecond' | 'mebibytes',
  connections: number,
  want: number,
  headers: readonly string[] = [],
): Promise<void> {
  if (only !== undefined && !name.includes(only)) return
  const rows: { mine: Awaited<ReturnType<typeof measure>>; limit: Awaited<ReturnType<typeof measure>> }[] = []
  for (let round = 0; round < rounds; round++) {
    rows.push({
      mine: await measure(ours, by, connections, headers),
      limit: await measure(theirs, by, connections, headers),
    })
  }
  const unit = by === 'perSecond' ? '/s' : ' MiB/s'
  const of = (pick: (row: (typeof rows)[0]) => number): number => median(rows.map(pick))
  console.log(
    [
      name.padEnd(28),
      `${of(({ mine }) => mine.value)
        .toFixed(0)
        .padStart(7)}${unit}`,
      `nginx ${of(({ limit }) => limit.value)
        .toFixed(0)
        .padStart(7)}${unit}`,
      `ratio ${of(({ mine, limit }) => mine.value / limit.value).toFixed(2)} (wanted ${want})`,
      `per CPU-second ${of(({ mine }) => mine.perCpu).toFixed(0)} of ${of(({ limit }) => limit.perCpu).toFixed(0)}`,
      `errors ${rows.reduce((sum, { mine }) => sum + mine.errors, 0)}`,
    ].join('  '),
  )
}

async function startNginx(
  folder: string,
  root: string,
  upstream: number,
  port: number,
): Promise<{ stop: () => void; cpu: CpuTime }> {
  await mkdir(join(folder, 'tmp'), { recursive: true })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/tmp/${name};`)
    .join(' ')
  await writeFile(
    join(folder, 'nginx.conf'),
    `
    daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log; ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 4096; }
    http { access_log off; sendfile on; tcp_nopush on; ${temporary} keepalive_requests 1000000;
      upstream keyturn { server 127.0.0.1:${upstream}; keepalive 64; }
      server { listen 127.0.0.1:${port}; root ${root};
        location /internal/ { internal; alias ${root}/files/; }
        location /accel/ { proxy_pass http://keyturn/; proxy_http_version 1.1; proxy_set_header Connection ""; } } }`,
  )
  const child = spawn('/usr/sbin/nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: 'ignore' })
  await until(() => fetch(`http://127.0.0.1:${port}/`))
  return { stop: () => child.kill('SIGTERM'), cpu: cpuOf(child.pid ?? 0) }
}

async function compareBareNode(blob: string, blobLimit: Side, manifest: string, manifestLimit: Side): Promise<void> {
  const piping = await startBareNode(blob, 'pipes')
  const sending = await startBareNode(manifest, 'from memory')
  try {
    await compare('bare node:http, 1 MiB', piping.side, blobLimit, 'mebibytes', 50, 0.7)
    await compare('bare node:http, manifest', sending.side, manifestLimit, 'perSecond', 100, 0.6)
    const { headers } = await fetch(manifestLimit.url)
    const tag = [`If-None-Match: ${headers.get('etag') ?? ''}`]
    await compare('bare node:http, 304', sending.side, manifestLimit, 'perSecond', 100, 0.6, tag)
  } finally {
    piping.stop()
    sending.stop()
  }
}

async function main(): Promise<void> {
  if (!existsSync('/usr/sbin/nginx')) return console.log('nginx is not installed: nothing is measured')
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-bench-'))
  const unlimited = { publicPerMinute: 1e12, managementPerMinute: 1e12 }
  const server = await createReleaseServer({ dataDir: join(folder, 'data'), rates: unlimited })
  const accel = await createReleaseServer({
    dataDir: join(folder, 'data'),
    rates: unlimited,
    offload: { kind: 'accel', prefix: '/internal' },
  })
  const { url } = await server.listen()
  const { port: accelPort } = await accel.listen()
  const { secret } = await server.createToken({ name: 'bench', scopes: ['admin'] })
  const client = new ReleaseServerClient(url, { token: secret })
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const files = Object.fromEntries(
    Array.from({ length: 190 }, (_, at) => [`data/file-${at}.bin`, new Uint8Array(randomBytes(100))]),
  )
  const blobs = [4096, 65_536, 1_048_576, 15 * 1_048_576].map((size) => new Uint8Array(randomBytes(size)))
  const release = await publisher.release({
    ...files,
    ...Object.fromEntries(blobs.map((bytes) => [`blob-${bytes.length}.bin`, bytes])),
  })
  await publisher.publish(client, release)
  const root = join(folder, 'data', 'blobs')
  await writeFile(
    join(root, 'manifest.json'),
    await readFile(join(root, 'files', release.pin.sha256.slice(0, 2), release.pin.sha256)),
  )
  const port = await freePort()
  const { stop: stopNginx, cpu: nginxCpu } = await startNginx(folder, root, accelPort, port)
  const nginx = `http://127.0.0.1:${port}`
  const pathOf = (bytes: Uint8Array): string => {
    const name = createHash('sha256').update(bytes).digest('hex')
    return `/files/${name.slice(0, 2)}/${name}`
  }
  try {
    console.log(
      `manifest of ${release.manifest.length} bytes; ${rounds} rounds of ${seconds} s, median; one nginx worker, ` +
        `one server process, ${hasWrk ? 'wrk' : 'a driver on Node'} on the same machine`,
    )
    const mine = (path: string): Side => ({ url: url + path, cpu: ownCpu })
    const limit = (path: string): Side => ({ url: nginx + path, cpu: nginxCpu })
    const both: CpuTime = async () => (await ownCpu()) + (await nginxCpu())
    await compare('manifest, 100 connections', mine('/manifest.json'), limit('/manifest.json'), 'perSecond', 100, 0.6)
    const tags = await Promise.all(
      [url, nginx].map(async (base) => (await fetch(`${base}/manifest.json`)).headers.get('etag') ?? ''),
    )
    await compare('304, 100 connections', mine('/manifest.json'), limit('/manifest.json'), 'perSecond', 100, 0.6, [
      `If-None-Match: ${tags.join(', ')}`,
    ])
    await compare('304, 1000 connections', mine('/manifest.json'), limit('/manifest.json'), 'perSecond', 1000, 0.6, [
      `If-None-Match: ${tags.join(', ')}`,
    ])
    for (const bytes of blobs)
      await compare(
        `blob of ${bytes.length / 1024} KiB`,
        mine(pathOf(bytes)),
        limit(pathOf(bytes)),
        'mebibytes',
        50,
        0.7,
      )
    const blob = pathOf(blobs[2] as Uint8Array)
    await compareBareNode(join(root, blob), limit(blob), join(root, 'manifest.json'), limit('/manifest.json'))
    for (const bytes of blobs.slice(2))
      await compare(
        `X-Accel blob of ${bytes.length / 1024} KiB`,
        { url: `${nginx}/accel${pathOf(bytes)}`, cpu: both },
        limit(pathOf(bytes)),
        'mebibytes',
        50,
        0.95,
      )
    console.log(`resident memory afterwards ${(process.memoryUsage.rss() / 1024 / 1024).toFixed(0)} MiB`)
  } finally {
    stopNginx()
    await accel.close()
    await server.close()
    await rm(folder, { recursive: true, force: true })
  }
}

await main()
