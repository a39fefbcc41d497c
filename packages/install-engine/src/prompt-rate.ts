import { LauncherError } from './errors.ts'
import type { Session } from './session.ts'

/** Slower than this is no reason to keep somebody from playing what is installed. */
const LEAST_PROMPT_RATE = 64 * 1024

/**
 * Runs a download that somebody waits for. It is given up when in one span of the start's deadline hardly anything came
 * and nothing was read or written either: a server that trickles may cost the update, not the game.
 *
 * @throws LauncherError `LA_TIMEOUT`.
 */
export async function notTooSlowly<T>(
  session: Session,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { promptDeadlineMs } = session.options
  const late = new AbortController()
  const done = (): number => session.meter.networkBytes + session.meter.snapshot().diskBytes
  let before = done()
  const timer = setInterval(() => {
    const { bytesPerSecond = Number.POSITIVE_INFINITY } = session.limit // half of what the player allows is fast enough
    const least = (Math.min(LEAST_PROMPT_RATE, bytesPerSecond / 2) * promptDeadlineMs) / 1000
    const now = done()
    if (now - before < least)
      late.abort(new LauncherError('LA_TIMEOUT', 'Cannot update before the start: the server sends too slowly'))
    before = now
  }, promptDeadlineMs)
  try {
    return await run(AbortSignal.any([signal, late.signal]))
  } finally {
    clearInterval(timer)
  }
}
