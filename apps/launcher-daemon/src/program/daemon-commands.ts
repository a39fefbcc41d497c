import { LauncherError } from '../errors.ts'
import type { Engine } from '../engine/engine.ts'
import type { Settings } from '../engine/settings.ts'

export async function runDaemon(_options: { folder: string; settings: Settings; engine: Engine; signal: AbortSignal; port: string | undefined; socket: string | undefined; onReady: (address: string) => void }): Promise<{ address: string }> {
  throw new LauncherError('LA_BUG', 'not yet')
}
export async function openPage(_folder: string): Promise<string> {
  throw new LauncherError('LA_BUG', 'not yet')
}
