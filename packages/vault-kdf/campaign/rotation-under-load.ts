// Rotation under load with kill -9 at random points: `node campaign/rotation-under-load.ts [folder|sqlite] [records]
// [turns]`.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What a campaign came to. */
export interface CampaignResult {
  readonly kills: number
  readonly acknowledgedWrites: number
  readonly failures: readonly string[]
  readonly last: string
  readonly seconds: number
}

interface Run {
  readonly lines: string[]
  readonly killed: boolean
  readonly stderr: string
}

/**
 * When a run is killed: by the clock, from outside, or after so many of its operations, which no machine is too fast
 * for.
 */
export type KillPoint = { readonly withinMs: number } | { readonly withinOperations: number }

function runOnce(args: readonly string[], killAfterMs: number | undefined): Promise<Run> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('worker.ts', import.meta.url)), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  child.stdout.on('data', (chunk: Buffer) => {
    const wasReady = stdout.includes('ready\n')
    stdout += chunk.toString()
    // Killed while the turn is going on, not while the store is filled: that is what the campaign is about.
    if (!wasReady && stdout.includes('ready\n') && killAfterMs !== undefined)
      setTimeout(() => child.kill('SIGKILL'), killAfterMs).unref()
  })
  return new Promise((resolve) => {
    child.on('close', (_code, signal) => resolve({ lines: stdout.split('\n'), killed: signal === 'SIGKILL', stderr }))
  })
}

function runUntil(args: readonly string[], point: KillPoint | undefined): Promise<Run> {
  if (point === undefined) return runOnce(args, undefined)
  if ('withinMs' in point) return runOnce(args, 1 + Math.random() * point.withinMs)
  return runOnce([...args, String(1 + Math.floor(Math.random() * point.withinOperations))], undefined)
}

/** Runs the worker again and again, killing it, until it comes to its end by itself. */
export async function runCampaign(
  kind: 'folder' | 'sqlite',
  records: number,
  turns: number,
  kills: number,
  point: KillPoint,
): Promise<CampaignResult> {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-campaign-'))
  const journal = join(folder, 'acknowledged')
  writeFileSync(journal, '')
  const args = [kind, join(folder, 'store'), randomBytes(32).toString('hex'), String(records), String(turns), journal]
  const started = performance.now()
  const failures: string[] = []
  let killed = 0
  try {
    for (;;) {
      const run = await runUntil(args, killed < kills ? point : undefined)
      failures.push(...run.lines.filter((line) => line.startsWith('failed ')))
      if (run.killed) {
        killed += 1
        continue
      }
      const last = run.lines.findLast((line) => line.startsWith('done ')) ?? `no end: ${run.stderr}`
      const acknowledgedWrites = readFileSync(journal, 'utf8').split('\n').length - 1
      return {
        kills: killed,
        acknowledgedWrites,
        failures,
        last,
        seconds: Math.round((performance.now() - started) / 1000),
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [kind = 'folder', records = '100000', turns = '3', kills = '25', maxKillMs = '4000'] = process.argv.slice(2)
  const result = await runCampaign(
    kind === 'sqlite' ? 'sqlite' : 'folder',
    Number(records),
    Number(turns),
    Number(kills),
    { withinMs: Number(maxKillMs) },
  )
  process.stdout.write(
    `${JSON.stringify({ kind, records: Number(records), turns: Number(turns), ...result }, null, 2)}\n`,
  )
  process.exitCode =
    result.failures.length === 0 && result.last.startsWith('done ') && result.last.includes(' failed 0 ') ? 0 : 1
}
