import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ended } from './services.ts'

/**
 * `keyturn-server` as tests start it: in CI what was just built, which starts in half the time; elsewhere the sources,
 * which are never stale.
 */
export const MAIN: string = fileURLToPath(
  new URL(process.env['CI'] === undefined ? '../src/main.ts' : '../dist/main.js', import.meta.url),
)

/** A `keyturn-server serve` in a process of its own. */
export interface ServerProcess {
  readonly url: string
  readonly child: ChildProcess
  stop(signal?: NodeJS.Signals): Promise<void>
}

export function runServer(
  environment: Record<string, string>,
  options: readonly string[] = [],
): Promise<ServerProcess> {
  const child = spawn(process.execPath, ['--no-warnings', MAIN, ...options, 'serve'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      KEYTURN_LOG_REQUESTS: 'false',
      KEYTURN_PORT: '0',
      KEYTURN_DRAIN_SECONDS: '5',
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Promise((resolve, reject) => {
    let errors = ''
    child.stderr.on('data', (part) => {
      errors += String(part)
    })
    child.once('exit', (code) => reject(new Error(`The server ended with ${code}: ${errors}`)))
    child.stdout.once('data', (part) => {
      const url = /http:\/\/\S+/.exec(String(part))?.[0] ?? ''
      child.removeAllListeners('exit')
      resolve({ url, child, stop: (signal = 'SIGTERM') => ended(child, signal) })
    })
  })
}

export function createTokenByCommand(environment: Record<string, string>): Promise<string> {
  const child = spawn(
    process.execPath,
    ['--no-warnings', MAIN, 'token', 'create', '--name', 'test', '--scope', 'admin'],
    {
      env: { PATH: process.env['PATH'] ?? '', ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout.on('data', (part) => {
      text += String(part)
    })
    child.once('exit', (code) =>
      code === 0 ? resolve(text.trim()) : reject(new Error(`token create ended with ${code}`)),
    )
  })
}
