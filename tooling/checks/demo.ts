/** Runs the main job as a user would, and checks its answer against what it promises. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { report, root } from './workspace.ts'

const TIMEOUT_MS = 1_200_000
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024

interface DemoAnswer {
  readonly ok: boolean
  readonly command: string
  readonly data: {
    readonly steps: readonly { readonly name: string; readonly ms: number; readonly ok: boolean }[]
    readonly totals: { readonly input_bytes: number }
  }
}

/** The demo means something only on a tree as large as a real client. */
const LEAST_INPUT_BYTES = 100_000_000

const run = spawnSync(process.execPath, [join(root, 'bin/keyturn'), 'demo', '--json'], {
  cwd: root,
  encoding: 'utf8',
  timeout: TIMEOUT_MS,
  maxBuffer: MAX_OUTPUT_BYTES,
})
const findings: string[] = []
try {
  const answer = JSON.parse(run.stdout) as DemoAnswer
  for (const { name, ms, ok } of answer.data.steps)
    console.log(`  ${ok ? 'ok ' : 'BAD'} ${name} (${Math.round(ms)} ms)`)
  findings.push(...answer.data.steps.filter(({ ok }) => !ok).map(({ name }) => `step "${name}" did not hold`))
  if (answer.data.totals.input_bytes < LEAST_INPUT_BYTES)
    findings.push(`it had only ${answer.data.totals.input_bytes} bytes to work on`)
  if (!answer.ok || answer.command !== 'demo') findings.push('the answer is not ok')
} catch {
  findings.push(
    'the answer is not the JSON that was ' +
      `promised:\n${run.stdout.slice(0, 2000)}\n…\n${run.stdout.slice(-2000)}\n${run.stderr.slice(-2000)}`,
  )
}
if (run.status !== 0) findings.push(`it ended with ${run.status ?? run.signal}`)
report('demo', findings)
