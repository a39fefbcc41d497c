/** What the programs of this folder share. They run in a folder where packages and peers are installed from npm. */
import { spawnSync } from 'node:child_process'

/** One row of a table: figures by the name of the column. */
export function row(operation, figures) {
  console.log(JSON.stringify({ operation, figures }))
}

/** A peer that may not be installed here: then undefined, and its column says so. */
export async function peer(name) {
  try {
    return await import(name)
  } catch (error) {
    console.error(`${name}: ${error.message.split('\n', 1)[0]}`)
    return undefined
  }
}

/** Whether a program is on the path. */
export const hasProgram = (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0

function cpuMs() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Runs a program; its last line of file descriptor 3 is the processor time of the children of bash. */
export function program(command, options = {}) {
  const began = performance.now()
  const { status, stdout, stderr, output } = spawnSync(
    'bash',
    ['-c', '"$@"; status=$?; times >&3; exit $status', 'bash', ...command],
    { ...options, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], maxBuffer: 256 * 1024 * 1024 },
  )
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
  const last = String(output[3]).trim().split('\n').at(-1)
  const cpu = [...last.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, m, s]) => sum + (m * 60 + +s) * 1000, 0)
  return { cpuMs: cpu, wallMs: performance.now() - began, stdout }
}

async function costOf(task, times) {
  const [cpu, wall] = [cpuMs(), performance.now()]
  let others = 0
  for (let count = 0; count < times; count += 1) others += (await task())?.cpuMs ?? 0
  return { cpuMs: (cpuMs() - cpu + others) / times, wallMs: (performance.now() - wall) / times }
}

const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]

/**
 * Runs tasks in turns, so that a busy moment hits all of them, and gives the median of each: `{ name: { cpuMs, wallMs } }`
 * for one call. Tasks that are undefined are left out. A task that runs a program returns what `program` gave.
 */
export async function inTurns(tasks, { rounds = 7, times = 1 } = {}) {
  const chosen = Object.entries(tasks).filter(([, task]) => task !== undefined)
  const costs = new Map(chosen.map(([name]) => [name, []]))
  for (const [, task] of chosen) await costOf(task, Math.min(times, 20))
  for (let round = 0; round < rounds; round += 1)
    for (const [name, task] of chosen) costs.get(name).push(await costOf(task, times))
  return Object.fromEntries(
    [...costs].map(([name, list]) => [
      name,
      { cpuMs: middle(list.map((cost) => cost.cpuMs)), wallMs: middle(list.map((cost) => cost.wallMs)) },
    ]),
  )
}

/** A number with three digits that count. */
const short = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))

export const asMs = (ms) =>
  ms < 1 ? `${short(ms * 1000)} µs` : ms < 1000 ? `${short(ms)} ms` : `${short(ms / 1000)} s`
export const asBytes = (bytes) =>
  bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${short(bytes / 1000)} kB` : `${short(bytes / 1e6)} MB`

/** A row of processor times. */
export async function cpuRow(operation, tasks, options) {
  const costs = await inTurns(tasks, options)
  row(operation, Object.fromEntries(Object.entries(costs).map(([name, cost]) => [name, asMs(cost.cpuMs)])))
  return costs
}
