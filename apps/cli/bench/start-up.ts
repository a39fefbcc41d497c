// Start-up of the built program against an empty Node process in the same run: wall time of whole processes, medians of
// interleaved rounds. Promised on a quiet machine: 150 ms for --version, 250 ms for status.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROUNDS = 15
const main = fileURLToPath(new URL('../dist/programs/keyturn.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'keyturn-bench-'))

function once(args: readonly string[]): number {
  const started = performance.now()
  const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' })
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status ?? 'a signal'}`)
  return performance.now() - started
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

try {
  writeFileSync(join(folder, 'p'), 'bench\n')
  once([main, 'init', '--home', join(folder, 'h'), '--passphrase-file', join(folder, 'p'), '--quiet'])
  const contenders = {
    empty: ['-e', '0'],
    version: [main, '--version'],
    status: [main, 'status', '--home', join(folder, 'h')],
  }
  const times: Record<string, number[]> = { empty: [], version: [], status: [] }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, args] of Object.entries(contenders)) times[name]?.push(once(args))
  }
  const empty = median(times['empty'] ?? [])
  console.log(`node -e 0          ${empty.toFixed(0)} ms`)
  for (const [name, limitMs] of [
    ['version', 150],
    ['status', 250],
  ] as const) {
    const ms = median(times[name] ?? [])
    console.log(
      `keyturn ${name.padEnd(10)} ${ms.toFixed(0)} ms, ${(ms / empty).toFixed(2)} x an empty process (promised on a ` +
        `quiet machine: ${limitMs} ms)`,
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
