import type { ReleaseCheckView } from './api.ts'
import { ServerError } from './errors.ts'
import type { HttpCaller } from './http.ts'

/** Options of a check. */
export interface CheckReleaseOptions {
  /** How many blobs to hash, drawn at random; default: all. */
  readonly sample?: number | undefined
  /** Called with the state of the check, each time it was fetched. */
  readonly onProgress?: ((view: ReleaseCheckView) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

const POLL_MS = 500
const segment = encodeURIComponent

/** Starts a check of a release and waits for its end. */
export async function checkRelease(
  http: HttpCaller,
  { slug, channel, version }: { slug: string; channel: string; version: string },
  options: CheckReleaseOptions,
): Promise<ReleaseCheckView> {
  const { sample, onProgress, signal } = options
  const product = `/v1/products/${segment(slug)}`
  const what = `verify release ${version} of "${slug}"`
  let view = await http.json<ReleaseCheckView>({
    method: 'POST',
    path: `${product}/channels/${segment(channel)}/releases/${segment(version)}:verify`,
    what,
    signal,
    json: sample === undefined ? {} : { sample },
  })
  while (view.state === 'running') {
    onProgress?.(view)
    await http.pause(POLL_MS)
    signal?.throwIfAborted()
    view = await http.json({ method: 'GET', path: `${product}/checks/${segment(view.id)}`, what, signal })
  }
  onProgress?.(view)
  if (view.state === 'failed')
    throw new ServerError('SRV_UNAVAILABLE', `Cannot ${what}: the check ended early (${view.error ?? 'unknown'})`)
  return view
}
