// Figures of the launcher, each with its limit measured in the same run: `pnpm bench`. KEYTURN_BENCH_MB sets the size
// of the big install (default 1,000 MB in 20,000 files; the figure in docs is 4,300 MB in 54,000 files).
import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ChunkIndexer, chunkParamsFor, writeChunkIndex } from '@keyturn/manifest/delta'
import { buildManifest, manifestPin, signManifest, writeManifest } from '@keyturn/manifest/publish'
import type { ManifestEntry } from '@keyturn/manifest/publish'
import { Publisher, signerOf } from '../../../packages/install-engine/test/support/publisher.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const megabytes = Number(process.env['KEYTURN_BENCH_MB'] ?? '1000')
const fileCount = Number(
  process.env['KEYTURN_BENCH_FILES'] ?? Math.round(megabytes * 12.5 * (megabytes >= 4000 ? 1 : 1.6)),
)
const work = mkdtempSync(join(tmpdir(), 'keyturn-bench-'))

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

interface Measured {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly rssMiB: number
  readonly data: Record<string, number>
  readonly states: Map<string, number>
}

/** Tells what the process took, as its very last word. */
const usage = `data:text/javascript,${encodeURIComponent(`
import { readFileSync } from 'node:fs'
process.on('exit', () => {
  const { userCPUTime, systemCPUTime } = process.resourceUsage()
  process._rawDebug('USAGE ' + /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1] + ' ' + (userCPUTime + systemCPUTime))
})`)}`

/** Runs the real program and asks it what it took. */
async function launcher(args: readonly string[]): Promise<Measured> {
  const begun = performance.now()
  const child = spawn(process.execPath, ['--import', usage, main, ...args, '--json', '--events'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [out, log] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    out += part
  })
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    log += part
  })
  await new Promise((resolve) => child.once('close', resolve))
  const seconds = (performance.now() - begun) / 1000
  const answer = JSON.parse(out) as { ok: boolean; data: Record<string, number> }
  if (!answer.ok) throw new Error(out)
  const states = new Map<string, number>()
  for (const line of log.split('\n')) {
    const match = /"state":"([a-z-]+)"/.exec(line)
    if (match !== null) states.set(match[1] ?? '', Number(/"at":(\d+)/.exec(line)?.[1] ?? '0'))
  }
  const [, rss = '0', cpu = '0'] = /USAGE (\d+) (\d+)/.exec(log) ?? []
  return { seconds, cpuSeconds: Number(cpu) / 1e6, rssMiB: Math.round(Number(rss) / 1024), data: answer.data, states }
}

function report(name: string, value: string, limit: string): void {
  console.log(`${name.padEnd(58)} ${value.padEnd(34)} ${limit}`)
}

const publisher = await Publisher.create()
publisher.nowMs = Date.now() - 60_000
const served = new Map<string, Uint8Array>()
const server = createServer((request, response) => {
  const path = (request.url ?? '/').slice(1)
  const bytes = publisher.tree.get(path) ?? served.get(path)
  if (bytes === undefined) return void response.writeHead(404).end()
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
  if (match === null) return void response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
  const [start, end] = [Number(match[1]), Math.min(Number(match[2]) + 1, bytes.length)]
  response
    .writeHead(206, { 'content-length': end - start, 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` })
    .end(bytes.subarray(start, end))
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const flags = (dir: string): string[] => [
  '--dir',
  dir,
  '--server',
  `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
  '--trust',
  publisher.trust,
]

async function publish(entries: readonly ManifestEntry[]): Promise<void> {
  const sequence = ++publisher.manifestSequence
  const model = buildManifest(entries, {
    version: `2026.11.21-${sequence}`,
    nowMs: publisher.nowMs,
    release: { product: 'metin2', channel: 'stable', epoch: 1, sequence, rolesVersion: 1 },
  })
  const bytes = writeManifest(model)
  const made = {
    model,
    bytes,
    signatures: await signManifest(bytes, [signerOf('release 1')]),
    files: new Map<string, Uint8Array>(),
    pin: manifestPin(model, sha(bytes), bytes.length),
  }
  publisher.serve(made)
  await publisher.head(made)
}

/** Sizes like a game's: many small files, a few long ones. */
function sizes(): number[] {
  const raw = Array.from({ length: fileCount }, (_, index) => Math.exp((((index * 7919) % 1000) / 1000) * 7))
  const scale = (megabytes * 1e6) / raw.reduce((sum, size) => sum + size, 0)
  return raw.map((size) => Math.max(1, Math.round(size * scale)))
}

async function verification(): Promise<void> {
  const dir = join(work, 'big')
  const pool = randomBytes(64 * 1024 * 1024)
  const entries: ManifestEntry[] = []
  for (const [index, size] of sizes().entries()) {
    const bytes = pool.subarray((index * 4093) % (pool.length - size - 1)).subarray(0, size)
    const path = `data/${String(index % 200).padStart(3, '0')}/${index}.bin`
    if (index < 200) mkdirSync(join(dir, `data/${String(index % 200).padStart(3, '0')}`), { recursive: true })
    writeFileSync(join(dir, path), bytes)
    entries.push({ path, sha256: sha(bytes), size })
  }
  await publish(entries)
  const limit = (): number => {
    const begun = performance.now()
    execFileSync('sh', ['-c', `find ${dir}/data -type f -print0 | xargs -0 -P2 -n256 sha256sum > /dev/null`])
    return (performance.now() - begun) / 1000
  }
  limit() // warm
  const tool = Math.min(limit(), limit())
  const full = await launcher(['update', ...flags(dir)])
  const starts: Measured[] = []
  for (let round = 0; round < 3; round++) starts.push(await launcher(['update', '--dir', dir]))
  starts.sort((x, y) => x.seconds - y.seconds)
  const cached = starts[1] as Measured
  const repaired = await launcher(['repair', '--dir', dir])
  const bytes = entries.reduce((sum, { size }) => sum + size, 0)
  report(
    `verify ${(bytes / 1e9).toFixed(2)} GB in ${entries.length} files, whole program`,
    `${full.seconds.toFixed(2)} s = ${(full.seconds / tool).toFixed(2)} x sha256sum (${tool.toFixed(2)} s)`,
    'at most 1.3 x',
  )
  report(
    '  the same with the hash cache, median of 3',
    `${cached.seconds.toFixed(2)} s (${cached.cpuSeconds.toFixed(2)} s of processor)`,
    'at most 2 s',
  )
  report(
    '  memory: full verification, with the cache, repair',
    `${full.rssMiB}, ${cached.rssMiB}, ${repaired.rssMiB} MiB`,
    'at most 200 MiB',
  )
}

async function apply(): Promise<void> {
  const dir = join(work, 'many')
  const edition = (name: string): ManifestEntry[] =>
    Array.from({ length: 1000 }, (_, index) => {
      const bytes = Buffer.concat([Buffer.from(`${name} ${index} `), randomBytes(4000)])
      const hash = sha(bytes)
      served.set(`files/${hash.slice(0, 2)}/${hash}`, bytes)
      return { path: `f/${index % 20}/${index}`, sha256: hash, size: bytes.length }
    })
  await publish(edition('one'))
  const first = await launcher(['update', ...flags(dir)])
  await publish(edition('two'))
  const second = await launcher(['update', '--dir', dir])
  const time = (run: Measured): number => ((run.states.get('idle') ?? 0) - (run.states.get('commit') ?? 0)) / 1000
  report(
    'apply 1,000 staged files',
    `${time(second).toFixed(2)} s (first install ${time(first).toFixed(2)} s)`,
    'at most 3 s',
  )
}

/** A pack: entries one after the other, half of them compressible, forced cuts at their starts. */
function pack(entries: readonly Uint8Array[]): { bytes: Buffer; cuts: number[] } {
  const cuts: number[] = []
  let offset = 0
  for (const entry of entries) {
    cuts.push(offset)
    offset += entry.length
  }
  return { bytes: Buffer.concat(entries), cuts }
}

function serveBlob(bytes: Uint8Array): string {
  const hash = sha(bytes)
  served.set(`files/${hash.slice(0, 2)}/${hash}`, bytes)
  return hash
}

function packEntry({ bytes, cuts }: { bytes: Buffer; cuts: number[] }): ManifestEntry {
  const params = chunkParamsFor(bytes.length)
  if (params === undefined) throw new Error('The pack is too small')
  const indexer = new ChunkIndexer(params, cuts)
  indexer.update(bytes)
  const index = indexer.finish()
  const encoded = writeChunkIndex(index)
  return {
    path: 'pack/all.bin',
    sha256: serveBlob(bytes),
    size: bytes.length,
    index: { sha256: serveBlob(encoded), size: encoded.length, chunks: index.lengths.length, params: params.id },
  }
}

async function delta(): Promise<void> {
  const dir = join(work, 'delta')
  const old = Array.from({ length: 786 }, (_, index) =>
    randomBytes(Math.round(Math.exp((((index * 7919) % 1000) / 1000) * 6 + 6.5))),
  )
  const before = pack(old)
  await publish([packEntry(before)])
  await launcher(['update', ...flags(dir)])
  // An edited file of an encrypted pack is encrypted again, so all of its bytes are new.
  const edited = old.map((entry, index) => (index % 33 === 0 ? randomBytes(entry.length + 16) : entry))
  const after = pack(edited)
  await publish([packEntry(after)])
  const run = await launcher(['update', '--dir', dir])
  const share = (run.data['downloaded_bytes'] ?? 0) / after.bytes.length
  const [oldFile, newFile, patch] = ['old', 'new', 'patch'].map((name) => join(work, name)) as [string, string, string]
  writeFileSync(oldFile, before.bytes)
  writeFileSync(newFile, after.bytes)
  execFileSync('zstd', ['-q', '-f', '--long=27', `--patch-from=${oldFile}`, newFile, '-o', patch])
  const patchBytes = statSync(patch).size
  report(
    '3 % of the entries of an encrypted pack edited: download',
    `${(share * 100).toFixed(2)} % of ${(after.bytes.length / 1e6).toFixed(0)} MB`,
    'at most 6 %',
  )
  report(
    '  against zstd --patch-from',
    `${((run.data['downloaded_bytes'] ?? 0) / patchBytes).toFixed(2)} x its ${(patchBytes / 1e6).toFixed(2)} MB`,
    'at most 1.6 x',
  )
  casync(oldFile, newFile, after.bytes.length)
}

/** What casync would fetch: the compressed chunks of the new file that the old one has not, and the index. */
function casync(oldFile: string, newFile: string, size: number): void {
  try {
    execFileSync('casync', ['--version'], { stdio: 'ignore' })
  } catch {
    return report('  against casync', 'casync is not installed', '')
  }
  const made = [oldFile, newFile].map((file, index) => {
    const [store, list] = [join(work, `store${index}.castr`), join(work, `list${index}.caibx`)] as const
    execFileSync('casync', ['make', `--store=${store}`, list, file], { stdio: 'ignore' })
    const chunks = new Map<string, number>()
    for (const name of readdirSync(store, { recursive: true, encoding: 'utf8' }))
      if (name.endsWith('.cacnk')) chunks.set(name, statSync(join(store, name)).size)
    return { chunks, indexBytes: statSync(list).size }
  }) as [{ chunks: Map<string, number> }, { chunks: Map<string, number>; indexBytes: number }]
  const [before, after] = made
  let bytes = after.indexBytes
  for (const [name, length] of after.chunks) if (!before.chunks.has(name)) bytes += length
  report(
    '  casync of Debian, chunks of 64 KiB, the same two files',
    `${((bytes / size) * 100).toFixed(2)} % = ${(bytes / 1e6).toFixed(2)} MB`,
    '',
  )
}

const chosen = process.argv[2]
if (chosen === undefined || chosen === 'apply') await apply()
if (chosen === undefined || chosen === 'delta') await delta()
if (chosen === undefined || chosen === 'verify') await verification()
server.close()
rmSync(work, { recursive: true, force: true })
