import { KeyturnError, printable } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { LauncherError } from '@keyturn/install-engine'

/** Whatever was thrown, as an error with a code. */
export function asKeyturnError(thrown: unknown): KeyturnError {
  if (thrown instanceof KeyturnError) return thrown
  if (thrown instanceof Error && thrown.name === 'AbortError')
    return new LauncherError('LA_PAUSED', 'Stopped; what was downloaded is kept', {
      hint: 'Run the same command again to go on',
      cause: thrown,
    })
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new LauncherError('LA_BUG', printable(message), { cause: thrown })
}

/** The JSON envelope of an error. */
export function errorEnvelope(command: string, error: KeyturnError): JsonValue {
  const { code, message, hint, details } = error
  return {
    ok: false,
    command,
    error: {
      code,
      message,
      ...(hint === undefined ? {} : { hint }),
      ...(Object.keys(details).length === 0 ? {} : { details: { ...details } }),
    },
  }
}
