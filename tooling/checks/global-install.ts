/** Installs every program as a user does, `npm install --global` into an empty prefix, and starts each from there. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { members, report } from './workspace.ts'

const TIMEOUT_MS = 300_000
const findings: string[] = []
const work = mkdtempSync(join(tmpdir(), 'keyturn-global-'))
const prefix = join(work, 'prefix')
/** What a program of the prefix sees: an empty home, and nothing of this checkout but the Node that runs it. */
const userEnvironment = {
  PATH: [join(prefix, 'bin'), dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter),
  HOME: work,
  TMPDIR: work,
}

function run(what: string, program: string, args: readonly string[], cwd = work): string {
  const started = performance.now()
  const env = program.startsWith(prefix) ? userEnvironment : process.env
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    env,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
  })
  if (status !== 0)
    findings.push(`${what} ended with ${status ?? 'a signal'}:\n${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`)
  console.log(`  ${status === 0 ? 'ok ' : 'BAD'} ${what} (${Math.round(performance.now() - started)} ms)`)
  return stdout ?? ''
}

function tarballs(): string[] {
  const target = join(work, 'tarballs')
  mkdirSync(target)
  for (const { folder, path, manifest } of members()) {
    if (manifest.private !== true) run(`pack ${folder}`, 'pnpm', ['pack', '--pack-destination', target], path)
  }
  return readdirSync(target).map((name) => join(target, name))
}

try {
  run('npm install --global', 'npm', [
    'install',
    '--global',
    '--prefix',
    prefix,
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
    ...tarballs(),
  ])
  for (const program of ['keyturn', 'm2pack', 'keyturn-launcher', 'keyturn-server']) {
    if (!/^\d+\.\d+\.\d+/.test(run(`${program} --version`, join(prefix, 'bin', program), ['--version'])))
      findings.push(`${program} --version prints no version`)
    if (!run(`${program} --help`, join(prefix, 'bin', program), ['--help']).includes(program))
      findings.push(`${program} --help does not name it`)
  }
  const demo = run('keyturn demo', join(prefix, 'bin', 'keyturn'), ['demo', '--json'])
  if (!demo.startsWith('{"ok":true')) findings.push(`keyturn demo does not hold: ${demo.slice(0, 2000)}`)
  report('global install', findings)
} finally {
  rmSync(work, { recursive: true, force: true })
}
