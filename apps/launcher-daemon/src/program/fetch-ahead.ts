import { KeyturnError } from '@keyturn/primitives'
import type { Engine, PreloadOptions, PreloadResult } from '@keyturn/install-engine'

/**
 * Fetches a scheduled release ahead after an update that went well. What fails here is tried again the next time, and
 * fails nobody's update; the log of the install has the reason.
 */
export async function fetchAhead(engine: Engine, options: PreloadOptions): Promise<PreloadResult> {
  try {
    return await engine.preload(options)
  } catch (error) {
    options.signal?.throwIfAborted()
    if (!(error instanceof KeyturnError) || error.kind === 'bug') throw error
    return { outcome: 'later', downloadedBytes: 0 }
  }
}
