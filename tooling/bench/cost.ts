/**
 * `pnpm bench`, first part: what a publisher's work costs, each row beside its limit in the same run. A small tree by
 * default; KEYTURN_BENCH_TREE names a real one, which is copied. Needs bash, tar, zstd and sha256sum.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { root } from '../checks/workspace.ts'
import { inTurn, run } from './measure.ts'
import type { Cost } from './measure.ts'

const ROUNDS = Number(process.env['KEYTURN_BENCH_RUNS'] ?? 5)
const MIB = 1024 * 1024
/** The largest segment of an archive of version 2, and the table. */
const SEGMENT_BYTES = 4 * MIB + 200_000
const scratch = mkdtempSync(join(tmpdir(), 'keyturn-cost-'))
const at = (...parts: readonly string[]): string => join(scratch, ...parts)
const programs = join(root, 'apps/cli/dist/programs')
const env: NodeJS.ProcessEnv = { ...process.env, XDG_CACHE_HOME: at('cache'), NO_COLOR: '1' }
/** Files that were written less than two seconds before are read again. */
const RACY_MS = 2500

const flags = ['--home', at('home'), '--passphrase-file', at('passphrase')]
const command = (words: readonly string[]): [string, ...string[]] => [
  process.execPath,
  join(programs, 'keyturn.js'),
  ...words,
]
const keyturn = (...words: readonly string[]): Cost => run(command([...words, ...flags]), env)

function answer(...words: readonly string[]): Record<string, unknown> {
  const { data } = JSON.parse(keyturn(...words, '--json').stdout) as { data?: Record<string, unknown> }
  if (data === undefined) throw new Error(`${words.join(' ')} gave no result`)
  return data
}

function row(name: string, value: string, limit: string, meets?: boolean): void {
  console.log(`| ${name} | ${value} | ${limit} | ${meets === undefined ? '' : meets ? 'yes' : '**no**'} |`)
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
const cost = ({ wallMs, cpuMs }: Cost): string => `${seconds(wallMs)}, ${seconds(cpuMs)} of processor`
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`

/** Against a limit by processor time; `fixedMs` is what the program takes for a tree of one file. */
function ratio(name: string, ours: Cost, limit: { readonly cost: Cost; readonly most: number }, fixedMs = 0): void {
  const value = (ours.cpuMs - fixedMs) / limit.cost.cpuMs
  row(name, `${cost(ours)}: ${value.toFixed(2)} x`, `${cost(limit.cost)}, ${limit.most} x`, value <= limit.most)
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

const bytesIn = (folder: string): number => filesIn(folder).reduce((sum, path) => sum + lstatSync(path).size, 0)

/** What a release refuses, or leaves out: names of secrets, and what Windows cannot name. */
const NOT_FOR_RELEASE = /[:\\*?"<>|]|\.(?:pem|key|p12|pfx|tmp|swp)$|^\.env|^id_(?:rsa|dsa|ecdsa|ed25519)$|~$/

function isForRelease(path: string): boolean {
  const stats = lstatSync(path)
  return (stats.isDirectory() || stats.isFile()) && !NOT_FOR_RELEASE.test(basename(path))
}

/** Ten folders of a hundred files, half of them compressible; one large loose file, one large packed one. */
function makeTree(tree: string): void {
  const given = process.env['KEYTURN_BENCH_TREE']
  if (given === undefined) {
    for (let number = 0; number < 1000; number += 1) {
      const folder = join(tree, `top${number % 10}`)
      mkdirSync(folder, { recursive: true })
      const noise = randomBytes(number % 2 === 0 ? 40_000 : 4000)
      writeFileSync(join(folder, `${number}.bin`), Buffer.concat([noise, Buffer.from('texture '.repeat(4000))]))
    }
  } else cpSync(given, tree, { recursive: true, filter: isForRelease })
  writeFileSync(join(tree, 'large.pak'), randomBytes(16 * MIB))
  mkdirSync(join(tree, 'top0'), { recursive: true })
  writeFileSync(join(tree, 'top0', 'large.bin'), randomBytes(8 * MIB))
}

function flip(path: string): void {
  const bytes = readFileSync(path)
  const middle = bytes.length >> 1
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle)
  writeFileSync(path, bytes)
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function serve(): Promise<{ url: string; stop: () => Promise<void> }> {
  const words = ['serve', '--port', '0', '--no-head-signer', '--json', ...flags]
  const [program, ...args] = command(words)
  const server = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const url = await new Promise<string>((resolve, reject) => {
    let text = ''
    server.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part
      const found = /http:\/\/[\d.:]+/.exec(text)?.[0]
      if (found !== undefined) resolve(found)
    })
    server.once('exit', () => reject(new Error('The server did not start')))
  })
  const ended = new Promise((resolve) => server.once('exit', resolve))
  return {
    url,
    stop: async () => {
      server.kill('SIGTERM')
      await ended
    },
  }
}

async function workerStart(): Promise<Cost> {
  const url = new URL('packages/m2pack-format/dist/node/worker.js', `file://${root}`)
  const [used, started] = [process.cpuUsage(), performance.now()]
  const worker = new Worker(url)
  await new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    // A job that is stopped already: the thread is ready, and says so.
    worker.postMessage({ kind: 'none', stop: new Int32Array(new SharedArrayBuffer(4)).fill(1) })
  })
  const { user, system } = process.cpuUsage(used)
  const wallMs = performance.now() - started
  await worker.terminate()
  return { wallMs, cpuMs: (user + system) / 1000, stdout: '' }
}

async function starts(): Promise<void> {
  const node = (...args: readonly string[]) => run([process.execPath, ...args], env)
  const [empty, version, packer, status] = inTurn(ROUNDS * 3, [
    () => node('-e', '0'),
    () => node(join(programs, 'keyturn.js'), '--version'),
    () => node(join(programs, 'm2pack.js'), '--version'),
    () => keyturn('status'),
  ]) as [Cost, Cost, Cost, Cost]
  ratio('keyturn --version', version, { cost: empty, most: 1.2 })
  ratio('m2pack --version', packer, { cost: empty, most: 1.2 })
  row('keyturn status', cost(status), '150 ms', status.cpuMs <= 150)
  const threads: Cost[] = []
  for (let round = 0; round < ROUNDS * 3; round += 1) threads.push(await workerStart())
  const worker = threads.toSorted((one, other) => one.cpuMs - other.cpuMs)[threads.length >> 1] as Cost
  row('start of a worker thread', cost(worker), '60 ms', worker.cpuMs <= 60)
}

function packing(tree: string): void {
  const bytes = bytesIn(tree)
  const files = filesIn(tree).length
  console.log(`\ntree: ${files} files, ${megabytes(bytes)}\n\n| job | measured | limit | met |\n|---|---|---|---|`)
  let number = 0
  mkdirSync(at('one', 'top'), { recursive: true })
  writeFileSync(at('one', 'top', 'file'), 'one')
  const pack = (input: string, ...more: readonly string[]): Cost => {
    const output = at(`packed-${(number += 1)}`)
    const done = keyturn('pack', 'tree', '--input', input, '--output', output, '--level', '3', ...more)
    rmSync(output, { recursive: true })
    return done
  }
  const shell = (line: string): Cost => run(['bash', '-c', line, 'bash', tree, at('tarball')], env)
  const [sum, tarball, one, fresh, all, remembered] = inTurn(ROUNDS, [
    () => shell('find "$1" -type f -print0 | xargs -0 -P2 -n 200 sha256sum > /dev/null'),
    () => shell('tar -cf - -C "$1" . | zstd -q -3 -T2 -f -o "$2"'),
    () => pack(at('one'), '--fresh', '--no-cache'),
    () => pack(tree, '--fresh', '--no-cache'),
    () => pack(tree, '--no-cache'),
    () => pack(tree),
  ]) as [Cost, Cost, Cost, Cost, Cost, Cost]
  row('pack one small file: start, passphrase, threads; not counted in the next two ratios', cost(one), '')
  ratio('pack everything, level 3, against tar and zstd -3', fresh, { cost: tarball, most: 1.3 }, one.cpuMs)
  ratio(
    'pack a tree of which nothing changed, every file read, against sha256sum',
    all,
    { cost: sum, most: 1.3 },
    one.cpuMs,
  )
  row('the same with what the home remembers', cost(remembered), '2 s for 2.9 GB', remembered.cpuMs <= 2000)
}

function publishing(tree: string): void {
  const files = filesIn(tree).filter((path) => !/large\.(?:pak|bin)$/.test(path))
  const before = bytesIn(at('home', 'server', 'blobs'))
  for (let number = 0; number < files.length; number += 100) flip(files[number] as string)
  const shipped = answer('ship', '--version-name', '1.1', '--level', '3', '--project', at('keyturn.json'), '--yes')
  const [up, down] = [Number(shipped['uploaded_bytes']), Number(shipped['download_bytes'])]
  row(
    'upload after 1 % of the files changed',
    megabytes(up),
    `1.1 x ${megabytes(down)} that players download`,
    up <= 1.1 * down,
  )
  const grown = bytesIn(at('home', 'server', 'blobs')) - before
  row('disk of the server for it, all whole', megabytes(grown), `${megabytes(down)} (see bench/cold.ts for chunks)`)
  oneByte('one byte of a loose file of 16 MiB', join(tree, 'large.pak'), 300_000)
  oneByte('one byte of a packed file of 8 MiB', join(tree, 'top0', 'large.bin'), SEGMENT_BYTES)
  writeFileSync(at('keyturn.json'), JSON.stringify({ schema: 1, source: 'client', archiveFormat: 2 }))
  answer('ship', '--version-name', '1.2', '--level', '3', '--project', at('keyturn.json'), '--yes')
  oneByte('the same in archives of version 2', join(tree, 'top0', 'large.bin'), SEGMENT_BYTES)
}

/** What players would download for a changed byte. */
function oneByte(name: string, path: string, limit: number): void {
  flip(path)
  const change = answer('ship', '--version-name', '1.9', '--level', '3', '--project', at('keyturn.json'), '--dry-run')
  const bytes = Number(change['download_bytes'])
  row(name, megabytes(bytes), megabytes(limit), bytes <= limit)
  flip(path)
}

function rotating(): void {
  const archives = bytesIn(at('home', 'trees'))
  const before = bytesIn(at('home', 'server', 'blobs'))
  const done = keyturn('rotate', 'content', '--yes')
  row('rotate content, published', cost(done), `1 % of ${megabytes(archives)} uploaded`)
  row('disk of the server for it', megabytes(bytesIn(at('home', 'server', 'blobs')) - before), 'archives whole')
}

try {
  const tree = at('client')
  mkdirSync(tree)
  makeTree(tree)
  writeFileSync(at('passphrase'), 'bench\n', { mode: 0o600 })
  writeFileSync(at('keyturn.json'), JSON.stringify({ schema: 1, source: 'client' }))
  keyturn('init', '--product', 'bench', '--quiet')
  const server = await serve()
  try {
    const file = at('home', 'home.json')
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), server: server.url }))
    await pause(RACY_MS)
    answer('ship', '--version-name', '1.0', '--level', '3', '--project', at('keyturn.json'), '--yes')
    packing(tree)
    publishing(tree)
    rotating()
    await starts()
  } finally {
    await server.stop()
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
