// `pnpm bench`: build, verify and extract against a single-purpose C program in the same run, whole processes, median of
// KEYTURN_BENCH_RUNS (5) interleaved pairs; then opening a large table, memory, and the portable path.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { ed25519PublicKey } from '@keyturn/primitives'
import { buildArchive, MemorySink, memorySource, openArchive } from '@keyturn/m2pack-format'
import { corpus, largeFiles, smallFiles } from './corpus.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const scratch = `${existsSync('/dev/shm') ? '/dev/shm' : tmpdir()}/keyturn-m2p-bench`
const limitSource = process.env['KEYTURN_LIMIT_C'] ?? fileURLToPath(new URL('../../../../shared/bench/limit.c', import.meta.url))
const runs = Number(process.env['KEYTURN_BENCH_RUNS'] ?? 5)
const level = process.env['KEYTURN_BENCH_LEVEL'] ?? '3'
const jobs = '2'

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] as number
}

function seconds(command: string, args: readonly string[]): number {
  const start = process.hrtime.bigint()
  const { status, stderr } = spawnSync(command, args, { env: { ...process.env, KEYTURN_BENCH_RSS: '' } })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${stderr}`)
  return Number(process.hrtime.bigint() - start) / 1e9
}

function compileLimit(): string | undefined {
  if (!existsSync(limitSource)) {
    console.log('limit in C: skipped, its source is not here; name it by KEYTURN_LIMIT_C')
    return undefined
  }
  const program = `${scratch}/limit`
  try {
    execFileSync('cc', ['-O3', '-march=native', '-o', program, limitSource, '-lsodium', '-lzstd', '-lcrypto', '-lpthread'], { stdio: 'ignore' })
    return program
  } catch {
    console.log('limit in C: skipped, it does not compile here (needs cc, libsodium, libzstd, OpenSSL)')
    return undefined
  }
}

function compare(name: string, folder: string, limit: string): void {
  const [pack, archive] = [`${scratch}/${name}.pack`, `${scratch}/${name}.m2p`]
  const [theirs, ours] = [`${scratch}/out-c`, `${scratch}/out-ts`]
  const operations = [
    ['build', [folder, pack, jobs, level], [folder, archive, jobs, level]],
    ['verify', [pack, jobs], [archive, '-', jobs]],
    ['extract', [pack, theirs, jobs], [archive, ours, jobs]],
  ] as const
  for (const [operation, limitArgs, ownArgs] of operations) {
    const pairs = Array.from({ length: runs }, () => {
      for (const folderToClear of [theirs, ours]) rmSync(folderToClear, { recursive: true, force: true })
      const c = seconds(limit, [operation, ...limitArgs])
      const ts = seconds(process.execPath, [`${here}driver.ts`, operation, ...ownArgs])
      return { c, ts, ratio: ts / c }
    })
    const ratio = median(pairs.map((pair) => pair.ratio))
    const shown = `${median(pairs.map((pair) => pair.ts)).toFixed(2)} s, C ${median(pairs.map((pair) => pair.c)).toFixed(2)} s`
    console.log(`${name.padEnd(6)} ${operation.padEnd(8)} ratio to C ${ratio.toFixed(2)}  (${shown}; level ${level}, ${jobs} threads, median of ${runs})`)
  }
  for (const folderToClear of [theirs, ours]) rmSync(folderToClear, { recursive: true, force: true })
}

function peakMemory(name: string): void {
  for (const [operation, from, to] of [['build', `${scratch}/${name}`, `${scratch}/${name}.m2p`], ['verify', `${scratch}/${name}.m2p`, '-']] as const) {
    const { stdout } = spawnSync(process.execPath, [`${here}driver.ts`, operation, from, to, jobs, level], { env: { ...process.env, KEYTURN_BENCH_RSS: '1' } })
    console.log(`${name.padEnd(6)} ${operation.padEnd(8)} peak memory ${(Number(stdout) / 1024).toFixed(0)} MiB`)
  }
}

async function openLargeTable(): Promise<void> {
  const signingSeed = new Uint8Array(32).fill(7)
  const contentKey = { keyId: 1, key: new Uint8Array(32).fill(5) }
  const sink = new MemorySink()
  const content = memorySource(new Uint8Array(10))
  const files = Array.from({ length: 100_000 }, (_, index) => ({ path: `folder ${index % 500}/part ${index % 7}/file-${index}.txt`, source: content }))
  await buildArchive(files, sink, { contentKey, signingSeed })
  const source = memorySource(sink.bytes())
  const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
  const times: number[] = []
  for (let run = 0; run < 7; run++) {
    const start = performance.now()
    await openArchive(source, { verifiers, contentKey })
    times.push(performance.now() - start)
  }
  console.log(`open of 100,000 entries: first ${(times[0] as number).toFixed(0)} ms, median ${median(times).toFixed(0)} ms (wanted: 150)`)
}

async function portable(): Promise<void> {
  for (const backend of ['accelerated', 'portable']) {
    const env = { ...process.env, KEYTURN_BACKEND: backend === 'portable' ? 'portable' : '' }
    if (backend !== 'portable') delete (env as Record<string, string | undefined>)['KEYTURN_BACKEND']
    const start = process.hrtime.bigint()
    spawnSync(process.execPath, [`${here}driver.ts`, 'verify', `${scratch}/large.m2p`, '-', jobs], { env })
    console.log(`large  verify   ${backend} cryptography: ${(Number(process.hrtime.bigint() - start) / 1e9).toFixed(2)} s`)
  }
}

console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.version}, ${process.platform}`)
mkdirSync(scratch, { recursive: true })
try {
  const small = corpus(`${scratch}/small`, smallFiles)
  const large = corpus(`${scratch}/large`, largeFiles)
  const limit = compileLimit()
  if (limit !== undefined) {
    compare('small', small, limit)
    compare('large', large, limit)
  }
  peakMemory('small')
  peakMemory('large')
  await openLargeTable()
  await portable()
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
