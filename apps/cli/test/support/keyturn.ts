import { spawn } from 'node:child_process'
import { MAIN, TEST_ENVIRONMENT } from './program.ts'

/** What a real process printed and how it ended. */
export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Options of {@link keyturn}. */
export interface KeyturnOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly cwd?: string
  /** Called with the running process, to stop it for instance. */
  readonly onSpawn?: (child: ReturnType<typeof spawn>) => void
}

/** Runs the command line as a process of its own, without a terminal. */
export function keyturn(args: readonly string[], options: KeyturnOptions = {}): Promise<Outcome> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: process.env['HOME'] ?? '',
    ...TEST_ENVIRONMENT,
    ...options.env,
  }
  const child = spawn(process.execPath, [MAIN, ...args], { env, cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.end(options.input ?? '')
  options.onSpawn?.(child)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** The data of a JSON envelope; fails the test when the command failed. */
export function dataOf(outcome: Outcome): Record<string, unknown> {
  const envelope = JSON.parse(outcome.stdout) as { ok: boolean; data?: Record<string, unknown> }
  if (!envelope.ok || envelope.data === undefined) throw new Error(`Command failed: ${outcome.stdout}${outcome.stderr}`)
  return envelope.data
}

/** The error code of a JSON envelope. */
export function codeOf(outcome: Outcome): string {
  const envelope = JSON.parse(outcome.stdout) as { ok: boolean; error?: { code: string } }
  return envelope.error?.code ?? `(no error: ${outcome.stdout})`
}
