/** The test command: runs every check in order, with its time, and ends with the numbers that passed and failed. */
import { spawnSync } from 'node:child_process'
import { root } from './workspace.ts'

interface Check {
  readonly name: string
  readonly command: readonly [string, ...string[]]
}

const turbo = (task: string, ...more: readonly string[]): Check['command'] => [
  'turbo',
  'run',
  task,
  '--output-logs=new-only',
  ...more,
]

const checks: readonly Check[] = [
  { name: 'build', command: turbo('build') },
  { name: 'format', command: ['oxfmt', '--check'] },
  { name: 'lint', command: ['oxlint', '--deny-warnings'] },
  { name: 'dead-code', command: ['knip', '--no-progress', '--no-config-hints'] },
  { name: 'structure', command: ['node', 'tooling/checks/structure.ts'] },
  { name: 'words', command: ['node', 'tooling/checks/words.ts'] },
  { name: 'lengths', command: ['node', 'tooling/checks/lengths.ts'] },
  { name: 'codes', command: ['node', 'tooling/checks/codes.ts'] },
  { name: 'documents', command: ['node', 'tooling/checks/documents.ts'] },
  { name: 'workflows', command: ['node', 'tooling/checks/workflows.ts'] },
  { name: 'catalogue', command: ['node', 'tooling/checks/catalogue.ts'] },
  { name: 'features', command: ['node', 'tooling/checks/features.ts'] },
  { name: 'runtimes', command: ['node', 'tooling/checks/runtimes.ts'] },
  { name: 'supply-chain', command: ['node', 'tooling/checks/supply-chain.ts'] },
  { name: 'types', command: turbo('types', '--continue') },
  { name: 'tooling-types', command: ['tsc', '-p', 'tooling/tsconfig.json'] },
  { name: 'unit', command: turbo('test', '--concurrency=2', '--continue') },
  { name: 'examples', command: ['node', 'tooling/checks/examples.ts'] },
  { name: 'packages', command: ['node', 'tooling/checks/packages.ts'] },
  { name: 'oldest-node', command: ['node', 'tooling/runtimes/run.ts', '--quick'] },
  { name: 'global-install', command: ['node', 'tooling/checks/global-install.ts'] },
  { name: 'sizes', command: ['node', 'tooling/checks/sizes.ts'] },
  { name: 'api-docs', command: turbo('docs') },
  { name: 'site', command: turbo('site') },
  { name: 'browser', command: ['node', 'tooling/checks/browser.ts'] },
  { name: 'demo', command: ['node', 'tooling/checks/demo.ts'] },
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !checks.some((check) => check.name === name))
if (unknown.length > 0) {
  console.error(`No such check: ${unknown.join(', ')}; there are ${checks.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

const failed: string[] = []
const chosen = checks.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
for (const { name, command } of chosen) {
  console.log(`\n── ${name}: ${command.join(' ')}`)
  const start = performance.now()
  const [program, ...args] = command
  const run = spawnSync(program, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1' },
  })
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  if (run.status !== 0) failed.push(name)
  console.log(`── ${name}: ${run.status === 0 ? 'passed' : 'FAILED'} in ${seconds} s`)
}
if (failed.length > 0) console.log(`\nfailed: ${failed.join(', ')}`)
console.log(`\nchecks: ${chosen.length - failed.length} passed, ${failed.length} failed`)
process.exitCode = failed.length === 0 ? 0 : 1
