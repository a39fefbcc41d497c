import { execFile } from 'node:child_process'
import { askForPage, startDaemon } from '../daemon/daemon.ts'
import { LauncherError } from '@keyturn/install-engine'
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

/** Runs the daemon until it is told to stop. */
export async function runDaemon(options: RunDaemonOptions): Promise<{ address: string }> {
  const { folder, settings, signal, port, socket, onReady } = options
  if (port !== undefined && !/^[0-9]{1,5}$/.test(port))
    throw new LauncherError('LA_USAGE', `--port takes a number, not "${port}"`)
  const daemon = await startDaemon({ folder, settings, socket, port: port === undefined ? undefined : Number(port) })
  onReady(daemon.address)
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await daemon.close()
  return { address: daemon.address }
}

const openers: Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>> = {
  linux: ['xdg-open'],
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

/** The address that opens the page once; shown to the browser too, where there is one. */
export async function openPage(folder: string): Promise<string> {
  const address = await askForPage(folder)
  const [program, ...args] = openers[process.platform] ?? []
  const hasDesktop =
    process.platform !== 'linux' || process.env['DISPLAY'] !== undefined || process.env['WAYLAND_DISPLAY'] !== undefined
  if (program !== undefined && hasDesktop) execFile(program, [...args, address], () => undefined)
  return address
}
