// `pnpm bench`: build, verify and extract against a single-purpose C program in the same run, whole processes, median
// of KEYTURN_BENCH_RUNS (5) interleaved pairs; then opening a large table, memory, and the portable path.
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { ed25519PublicKey } from '@keyturn/primitives'
import { buildArchive, MemorySink, memorySource, openArchive } from '@keyturn/m2pack-format'
import { corpus, largeFiles, oneFileOf8MB, oneSmallFile, smallFiles } from './corpus.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const scratch = `${existsSync('/dev/shm') ? '/dev/shm' : tmpdir()}/keyturn-m2p-bench`
const limitSource =
  process.env['KEYTURN_LIMIT_C'] ?? fileURLToPath(new URL('../../../../shared/bench/limit.c', import.meta.url))
const runs = Number(process.env['KEYTURN_BENCH_RUNS'] ?? 5)
const level = process.env['KEYTURN_BENCH_LEVEL'] ?? '3'
const jobs = '2'

const HEADER_BYTES = 128

function flipByte(path: string, at: number): void {
  const descriptor = openSync(path, 'r+')
  const byte = new Uint8Array(1)
  readSync(descriptor, byte, 0, 1, at)
  byte[0] = (byte[0] as number) ^ 1
  writeSync(descriptor, byte, 0, 1, at)
  closeSync(descriptor)
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] as number
}

interface Timing {
  readonly wall: number
  readonly cpu: number
  readonly rssKib: number
}

/** Runs a program that prints its processor time as JSON, and times it from outside. */
function time(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Timing {
  const start = process.hrtime.bigint()
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${stderr}`)
  const wall = Number(process.hrtime.bigint() - start) / 1e9
  const { cpu, rssKib = 0 } = JSON.parse(stdout) as { cpu: number; rssKib?: number }
  return { wall, cpu, rssKib }
}

function compileLimit(): string | undefined {
  if (!existsSync(limitSource)) {
    console.log('limit in C: skipped, its source is not here; name it by KEYTURN_LIMIT_C')
    return undefined
  }
  const program = `${scratch}/limit`
  try {
    execFileSync(
      'cc',
      ['-O3', '-march=native', '-o', program, limitSource, '-lsodium', '-lzstd', '-lcrypto', '-lpthread'],
      { stdio: 'ignore' },
    )
    return program
  } catch {
    console.log('limit in C: skipped, it does not compile here (needs cc, libsodium, libzstd, OpenSSL)')
    return undefined
  }
}

/**
 * What a start costs: Node, the modules, the second thread. It is the same for every corpus, and the limit in C has
 * nothing like it.
 */
function start(operation: string): Timing {
  const [folder, archive, out] = [`${scratch}/start`, `${scratch}/start.m2p`, `${scratch}/start-out`]
  corpus(folder, oneSmallFile)
  const own = (...args: readonly string[]): Timing =>
    time(process.execPath, [`${here}driver.mjs`, args[0] as string, args[1] as string, args[2] as string, jobs])
  rmSync(out, { recursive: true, force: true })
  const built = own('build', folder, archive)
  return operation === 'build' ? built : own(operation, archive, operation === 'verify' ? '-' : out)
}

function compare(name: string, folder: string, limit: string): void {
  const [pack, archive] = [`${scratch}/${name}.pack`, `${scratch}/${name}.m2p`]
  const [theirs, ours] = [`${scratch}/out-c`, `${scratch}/out-ts`]
  const operations = [
    ['build', [folder, pack, jobs, level], (to: string, version: string) => [folder, to, jobs, level, version]],
    ['verify', [pack, jobs], (from: string) => [from, '-', jobs]],
    ['extract', [pack, theirs, jobs], (from: string) => [from, ours, jobs]],
  ] as const
  const clear = (): void => {
    for (const path of [theirs, ours]) rmSync(path, { recursive: true, force: true })
  }
  for (const [operation, limitArgs, ownArgs] of operations) {
    const own = (path: string, version: string): Timing => {
      clear()
      return time(process.execPath, [`${here}driver.mjs`, operation, ...ownArgs(path, version)])
    }
    const rounds = Array.from({ length: runs }, () => {
      clear()
      const c = time(limit, [operation, ...limitArgs])
      return { c, one: own(archive, '1'), two: own(`${archive}.v2`, '2'), fixed: start(operation) }
    })
    const ratio = (left: 'one' | 'two', right: 'c' | 'one', of: 'wall' | 'cpu'): string =>
      median(rounds.map((round) => round[left][of] / round[right][of])).toFixed(2)
    const rest = (version: 'one' | 'two'): string =>
      median(rounds.map((round) => (round[version].cpu - round.fixed.cpu) / round.c.cpu)).toFixed(2)
    const fixed = median(rounds.map((round) => round.fixed.cpu)).toFixed(2)
    const seconds = (of: 'c' | 'one' | 'two'): string => median(rounds.map((round) => round[of].wall)).toFixed(2)
    for (const version of ['one', 'two'] as const) {
      const memory = (median(rounds.map((round) => round[version].rssKib)) / 1024).toFixed(0)
      const toFirst =
        version === 'one' ? '' : `, to version 1: ${ratio('two', 'one', 'wall')}, ${ratio('two', 'one', 'cpu')}`
      console.log(
        `${name.padEnd(6)} ${operation.padEnd(8)} version ${version === 'one' ? 1 : 2}, ratio to C: ` +
          `wall ${ratio(version, 'c', 'wall')}, processor ${ratio(version, 'c', 'cpu')}, ` +
          `${rest(version)} without a start of ${fixed} s${toFirst}; peak ${memory} MiB  ` +
          `(${seconds(version)} s, C ${seconds('c')} s; level ${level}, ${jobs} threads, median of ${runs})`,
      )
    }
  }
  clear()
}

/** What one changed byte costs in each version: stored bytes that the archive before does not have. */
function change(): void {
  const before = corpus(`${scratch}/change`, oneFileOf8MB)
  for (const version of ['1', '2']) {
    const [first, second] = [`${scratch}/change-1.m2p`, `${scratch}/change-2.m2p`]
    time(process.execPath, [`${here}driver.mjs`, 'build', before, first, jobs, level, version])
    flipByte(`${before}/big.bin`, 3_000_000)
    time(process.execPath, [`${here}driver.mjs`, 'build', before, second, jobs, level, version])
    const [old, now] = [readFileSync(first), readFileSync(second)]
    let [head, tail] = [HEADER_BYTES, 0]
    while (head < now.length && old[head] === now[head]) head++
    const [end, oldEnd] = [now, old].map((bytes) => Number(bytes.readBigUInt64LE(16))) as [number, number]
    while (end - tail > head && old[oldEnd - 1 - tail] === now[end - 1 - tail]) tail++
    console.log(`change version ${version}: one byte of 8 MB changes ${end - head - tail} stored bytes`)
  }
}

async function openLargeTable(): Promise<void> {
  const signingSeed = new Uint8Array(32).fill(7)
  const contentKey = { keyId: 1, key: new Uint8Array(32).fill(5) }
  const sink = new MemorySink()
  const content = memorySource(new Uint8Array(10))
  const files = Array.from({ length: 100_000 }, (_, index) => ({
    path: `folder ${index % 500}/part ${index % 7}/file-${index}.txt`,
    source: content,
  }))
  await buildArchive(files, sink, { contentKey, signingSeed })
  const source = memorySource(sink.bytes())
  const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
  const times: { wall: number; cpu: number }[] = []
  for (let run = 0; run < 9; run++) {
    const [start, before] = [performance.now(), process.cpuUsage()]
    await openArchive(source, { verifiers, contentKey })
    const { user, system } = process.cpuUsage(before)
    times.push({ wall: performance.now() - start, cpu: (user + system) / 1000 })
  }
  const [wall, cpu] = [median(times.map((one) => one.wall)).toFixed(0), median(times.map((one) => one.cpu)).toFixed(0)]
  console.log(`open of 100,000 entries: median ${wall} ms, ${cpu} ms of processor time (wanted: 150)`)
}

/** Packing again what has not changed, against hashing the same files with sha256sum on as many cores. */
function repack(name: string, folder: string, version = '1'): void {
  const [previous, next] = [`${scratch}/${name}-previous.m2p`, `${scratch}/${name}-next.m2p`]
  time(process.execPath, [`${here}driver.mjs`, 'build', folder, previous, jobs, level, version])
  const pairs = Array.from({ length: runs }, () => ({
    limit: hashAll(folder),
    own: time(process.execPath, [`${here}driver.mjs`, 'repack', folder, `${previous},${next}`, jobs, level, version]),
  }))
  const wall = median(pairs.map(({ limit, own }) => own.wall / limit.wall)).toFixed(2)
  const cpu = median(pairs.map(({ limit, own }) => own.cpu / limit.cpu)).toFixed(2)
  const shown = `${median(pairs.map(({ own }) => own.wall)).toFixed(2)} s, sha256sum ${median(pairs.map(({ limit }) => limit.wall)).toFixed(2)} s`
  console.log(
    `${name.padEnd(6)} repack   version ${version}, ratio to sha256sum: wall ${wall}, processor ${cpu}  (${shown}; ` +
      `nothing changed, ${jobs} threads, median of ${runs}, wanted: 1.3)`,
  )
  for (const archive of [previous, next]) rmSync(archive)
}

/** sha256sum of every file below a folder, several processes at once. */
function hashAll(folder: string): Omit<Timing, 'rssKib'> {
  const script = 'find "$0" -type f -print0 | xargs -0 -P "$1" -n 64 sha256sum > /dev/null; times'
  const start = process.hrtime.bigint()
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script, folder, jobs], { encoding: 'utf8' })
  const wall = Number(process.hrtime.bigint() - start) / 1e9
  if (status !== 0) throw new Error(`sha256sum failed: ${stderr}`)
  // The second line of "times" is that of the processes it started: user and system.
  const spent = [...(stdout.trim().split('\n')[1] ?? '').matchAll(/(\d+)m([\d.]+)s/g)]
  return { wall, cpu: spent.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0) }
}

function portable(archive: string): void {
  const [native, noble] = [{}, { KEYTURN_BACKEND: 'portable' }].map((env) =>
    time(process.execPath, [`${here}driver.mjs`, 'verify', archive, '-', jobs], env),
  )
  console.log(
    'large  verify   pure JavaScript cryptography takes ' +
      `${((noble as Timing).cpu / (native as Timing).cpu).toFixed(1)} times the processor time of the native one`,
  )
}

console.log(
  `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, ` +
    `${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.version}, ${process.platform}`,
)
mkdirSync(scratch, { recursive: true })
try {
  await openLargeTable()
  const small = corpus(`${scratch}/small`, smallFiles)
  const large = corpus(`${scratch}/large`, largeFiles)
  repack('small', small)
  repack('large', large)
  repack('small', small, '2')
  repack('large', large, '2')
  change()
  const tree = process.env['KEYTURN_BENCH_TREE']
  if (tree !== undefined) repack('tree', tree)
  const limit = compileLimit()
  if (limit !== undefined) {
    compare('small', small, limit)
    compare('large', large, limit)
    if (tree !== undefined) compare('tree', tree, limit)
  }
  if (existsSync(`${scratch}/large.m2p`)) portable(`${scratch}/large.m2p`)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
