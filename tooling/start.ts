/** The main job in one command: builds what changed, then runs the whole story on real files. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const env = { ...process.env, TURBO_TELEMETRY_DISABLED: '1' }

function run(program: string, ...args: readonly string[]): void {
  const { status, error } = spawnSync(program, args, { cwd: root, env, stdio: 'inherit' })
  if (error !== undefined) console.error(`Cannot run ${program}: ${error.message}`)
  if (status !== 0) process.exit(status ?? 70)
}

run('turbo', 'run', 'build', '--output-logs=errors-only')
run(process.execPath, 'bin/keyturn', 'demo', ...process.argv.slice(2))
