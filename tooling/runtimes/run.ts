/**
 * `node tooling/runtimes/run.ts [--quick] [--write] [--only TEXT]`: runs every program on every runtime, compares with
 * results.json, or writes it and docs/runtimes.md. `--quick`: only the oldest Node, and the one that runs this.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { report, root } from '../checks/workspace.ts'
import { runInBrowser, runInWorkerd, TIMEOUT_MS } from './bundled.ts'
import { prepareHome } from './home.ts'
import { parseOutcomes, withMissing } from './outcome.ts'
import type { Outcome, Results } from './outcome.ts'
import { runtimesPage } from './page.ts'
import { installed, LOWEST, programsOf, RUNTIMES, WORKSPACE } from './runtimes.ts'
import type { Runtime } from './runtimes.ts'

const RESULTS = join(root, 'tooling/runtimes/results.json')
const PAGE = join(root, 'docs/runtimes.md')

function runProcess(home: string, program: string, args: readonly string[], programs: readonly string[]): Outcome[] {
  const { stdout, stderr, status, signal } = spawnSync(program, [...args, 'main.mjs', ...programs], {
    cwd: home,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  if (status !== 0) console.error(stderr.slice(-2000))
  return withMissing(parseOutcomes(stdout), programs, `the process ended with ${status ?? signal}`)
}

async function outcomesOn(home: string, runtime: Runtime, own: boolean): Promise<Outcome[]> {
  const [program, ...args] = runtime.program
  if (own) return runProcess(home, process.execPath, args, programsOf(runtime))
  if (runtime.kind === 'process') return runProcess(home, installed(home, program), args, programsOf(runtime))
  return runtime.kind === 'workerd' ? runInWorkerd(home, runtime) : await runInBrowser(home, runtime)
}

/** What a reader of the page would see: a message only where there is no code. */
function shown(outcomes: readonly Outcome[]): string[] {
  return outcomes.map(({ program, feature, works, code = '', message = '' }) =>
    JSON.stringify(
      works ? { program, feature, works } : { program, feature, works, code, ...(code === '' && { message }) },
    ),
  )
}

function differences(name: string, recorded: readonly Outcome[], found: readonly Outcome[]): string[] {
  const [before, now] = [shown(recorded), shown(found)]
  return [
    ...now.filter((line) => !before.includes(line)).map((line) => `${name}: not recorded: ${line}`),
    ...before.filter((line) => !now.includes(line)).map((line) => `${name}: recorded, but not found: ${line}`),
  ]
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
})
if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.info('skipped: the runtimes come from npm packages for Linux on x64')
  process.exit(0)
}
const chosen = (values.quick ? [LOWEST, WORKSPACE] : RUNTIMES).filter(({ name }) => name.includes(values.only))
const recorded = JSON.parse(readFileSync(RESULTS, 'utf8')) as Results
const results = { ...recorded }
const findings: string[] = []
const home = mkdtempSync(join(tmpdir(), 'keyturn-runtimes-'))
try {
  prepareHome(home, values.quick ? [LOWEST] : chosen)
  for (const runtime of chosen) {
    const outcomes = await outcomesOn(home, runtime, values.quick && runtime === WORKSPACE)
    const works = outcomes.filter((outcome) => outcome.works).length
    console.log(`${runtime.name}: ${works} of ${outcomes.length} features work`)
    findings.push(...differences(runtime.name, recorded[runtime.name]?.outcomes ?? [], outcomes))
    results[runtime.name] = { version: runtime.version, outcomes }
  }
} finally {
  rmSync(home, { recursive: true, force: true })
}
if (values.write) {
  writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`)
  writeFileSync(PAGE, runtimesPage(results))
}
report(`runtimes (${chosen.length})`, values.write ? [] : findings)
