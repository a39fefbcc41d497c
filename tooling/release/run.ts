import { spawnSync } from 'node:child_process'

/**
 * Runs a program and returns what it prints.
 *
 * @throws Error with its output when it ends with another status than 0.
 */
export function run(cwd: string, program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1' },
  })
  if (status === 0) return stdout
  throw new Error(
    `${program} ${args.join(' ')} failed in ${cwd}:\n${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`,
  )
}
