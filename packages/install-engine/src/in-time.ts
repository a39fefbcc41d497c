import { LauncherError } from './errors.ts'

/** Gives up what keeps somebody from playing: a server that answers, but never to an end. */
export async function inTime<T>(ms: number, signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    const problem = `the server did not say within ${Math.round(ms / 1000)} s what is new`
    late.abort(new LauncherError('LA_TIMEOUT', `Cannot update before the start: ${problem}`))
  }, ms)
  try {
    return await run(AbortSignal.any([signal, late.signal]))
  } finally {
    clearTimeout(timer)
  }
}
