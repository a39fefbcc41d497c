import { spawnSync } from 'node:child_process'

/** What one run of a program took, its own processes included. */
export interface Cost {
  readonly wallMs: number
  readonly cpuMs: number
  readonly stdout: string
}

/** Its last line is what children took: `0m1.234s 0m0.056s`. */
const TIMES = '"$@"; status=$?; times >&3; exit $status'

/** Runs a program to its end. */
export function run(command: readonly [string, ...string[]], env: NodeJS.ProcessEnv = process.env): Cost {
  const started = performance.now()
  const { status, stdout, stderr, output, error } = spawnSync('bash', ['-c', TIMES, 'bash', ...command], {
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    maxBuffer: 256 * 1024 * 1024,
  })
  const wallMs = performance.now() - started
  if (status !== 0) throw new Error(`${command.join(' ')} failed: ${stdout}${stderr}${error?.message ?? ''}`)
  const children =
    String(output[3] ?? '')
      .trim()
      .split('\n')
      .at(-1) ?? ''
  const parts = [...children.matchAll(/(\d+)m([\d.]+)s/g)]
  const cpuMs = parts.reduce((sum, [, minutes, seconds]) => sum + (Number(minutes) * 60 + Number(seconds)) * 1000, 0)
  return { wallMs, cpuMs, stdout }
}

/** The middle one by processor time, which other work on the machine changes least. */
export function medianOf(costs: readonly Cost[]): Cost {
  const sorted = costs.toSorted((one, other) => one.cpuMs - other.cpuMs)
  return sorted[sorted.length >> 1] as Cost
}

/** Runs programs in turn, several times. */
export function inTurn(rounds: number, runs: readonly (() => Cost)[]): Cost[] {
  const costs = runs.map((): Cost[] => [])
  for (let round = 0; round < rounds; round += 1) for (const [at, once] of runs.entries()) costs[at]?.push(once())
  return costs.map(medianOf)
}
