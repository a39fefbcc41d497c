import type { Fetch } from './fetch/http.ts'

const timeoutMs = 5_000
const MAX_ANSWER_BYTES = 64 * 1024

/**
 * Tells the operator that an update was applied: one POST, five seconds, never repeated, never waited for. Off unless
 * the settings of this machine hold a template; nothing but format, version and time is sent.
 *
 * @returns Whether it arrived.
 */
export async function reportUpdate(
  fetch: Fetch,
  template: string,
  release: { format: string; version: string; at: number },
): Promise<boolean> {
  const { format, version, at } = release
  const url = template
    .replaceAll('{format}', encodeURIComponent(format))
    .replaceAll('{version}', encodeURIComponent(version))
  return await postQuietly(fetch, url, { format, version, timestamp: new Date(at).toISOString() })
}

/** One POST of JSON: five seconds, never repeated; tells whether it arrived. */
export async function postQuietly(fetch: Fetch, url: string, body: object): Promise<boolean> {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(), timeoutMs)
  timer.unref()
  try {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      signal: abort.signal,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    let bytes = 0
    for await (const part of response.body ?? []) {
      bytes += part.length
      if (bytes > MAX_ANSWER_BYTES) break
    }
    return response.ok
  } catch {
    return false
  } finally {
    clearTimeout(timer)
    abort.abort()
  }
}
