import type { ServerLog } from '../context.ts'

/** Writes nothing. */
export const silentLog: ServerLog = { info: () => undefined, warn: () => undefined, error: () => undefined }

const SECRET_NAME = /authorization|cookie|secret|token$|password|passphrase/i
const TOKEN_FORM = /m2t_([a-z0-9]{16})_[A-Za-z0-9_-]{43}/g

/** What a log line may hold: no member named like a secret, no token, control characters escaped by JSON. */
export function redact(_name: string, value: unknown): unknown {
  if (_name !== '' && SECRET_NAME.test(_name)) return '[redacted]'
  return typeof value === 'string' ? value.replace(TOKEN_FORM, 'm2t_$1_[redacted]') : value
}

/** Writes a log as lines of JSON. */
export function jsonLog(write: (line: string) => void, clock: () => number): ServerLog {
  const line =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      write(`${JSON.stringify({ time: new Date(clock()).toISOString(), level, message, ...fields }, redact)}\n`)
    }
  return { info: line('info'), warn: line('warn'), error: line('error') }
}

/** An error as a log shows it: with its causes, without the values it was about. */
export function describe(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) }
  const code = 'code' in error ? { code: error.code } : {}
  return {
    name: error.name,
    message: error.message,
    ...code,
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: describe(error.cause) }),
  }
}
