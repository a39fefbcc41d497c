import { join } from 'node:path'
import { askForPage, askToQuit, startDaemon } from '../daemon/daemon.ts'
import { openWindow } from '../daemon/window.ts'
import { LauncherError, updatesFolder } from '@keyturn/install-engine'
import type { Settings } from '@keyturn/install-engine'

/** What `run` is given. */
export interface RunDaemonOptions {
  readonly folder: string
  readonly settings: Settings & { readonly server: string; readonly trust: string }
  readonly signal: AbortSignal
  readonly port: string | undefined
  readonly socket: string | undefined
  readonly onReady: (address: string) => void
}

/** Runs the daemon until it is stopped. */
export async function runDaemon(options: RunDaemonOptions): Promise<{ address: string }> {
  const { folder, settings, signal, port, socket, onReady } = options
  if (port !== undefined && !/^[0-9]{1,5}$/.test(port))
    throw new LauncherError('LA_USAGE', `--port takes a number, not "${port}"`)
  const quitting = new AbortController()
  const daemon = await startDaemon({
    folder,
    settings,
    socket,
    port: port === undefined ? undefined : Number(port),
    onQuit: () => quitting.abort(),
  })
  onReady(daemon.address)
  const end = AbortSignal.any([signal, quitting.signal])
  await new Promise<void>((resolve) => {
    if (end.aborted) resolve()
    else end.addEventListener('abort', () => resolve(), { once: true })
  })
  await daemon.close()
  return { address: daemon.address }
}

/**
 * The address that opens the page once. Where there is a desktop, the page is shown too; the address never becomes an
 * argument of the browser, which other users of the machine could read.
 */
export async function openPage(folder: string, stateFolder: string = join(folder, updatesFolder)): Promise<string> {
  const hasDesktop =
    process.platform !== 'linux' || process.env['DISPLAY'] !== undefined || process.env['WAYLAND_DISPLAY'] !== undefined
  if (hasDesktop) await openWindow(await askForPage(folder, stateFolder), { folder: stateFolder })
  return await askForPage(folder, stateFolder)
}

/** Asks the running launcher of an install to end. */
export async function quit(folder: string, stateFolder: string = join(folder, updatesFolder)): Promise<void> {
  await askToQuit(folder, stateFolder)
}
