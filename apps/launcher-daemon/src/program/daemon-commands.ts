import { rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { askForPage, askToQuit, startDaemon, withoutDaemon } from '../daemon/daemon.ts'
import { openWindow } from '../daemon/window.ts'
import { LauncherError, uninstall, updatesFolder } from '@keyturn/install-engine'
import type { Engine, Settings, UninstallResult } from '@keyturn/install-engine'
import { pathExists, systemErrorCode } from '@keyturn/primitives/node'
import { supportReport } from '../daemon/support-report.ts'
import type { PlayerDefaults, ProgramEnvironment } from './environment.ts'

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

async function versionOf({ config, runningVersion }: PlayerDefaults): Promise<string> {
  return (await runningVersion?.()) ?? config.version
}

/**
 * Writes a report for support.
 *
 * @throws LauncherError `LA_USAGE` without a file name, or when something is there.
 */
export async function writeReport(
  { folder, settings, engine }: { folder: string; settings: RunDaemonOptions['settings']; engine: Engine },
  file: string,
  { env, player }: Pick<ProgramEnvironment, 'env' | 'player'>,
): Promise<{ data: { file: string; bytes: number }; text: string }> {
  if (file === '') throw new LauncherError('LA_USAGE', 'Where to? Give the name of a file')
  const text = await supportReport({
    folder,
    settings,
    status: await engine.status(),
    launcher: player && { name: player.config.name, version: await versionOf(player) },
    env,
    now: new Date(),
  })
  try {
    await writeFile(file, text, { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    if (systemErrorCode(cause) !== 'EEXIST') throw cause
    throw new LauncherError('LA_USAGE', `Cannot write "${file}": something is there`, {
      hint: 'Give another name',
      cause,
    })
  }
  return { data: { file, bytes: Buffer.byteLength(text) }, text: `Wrote ${file}; read it before you send it` }
}

/** Asks the running launcher of an install to end. */
export async function quit(folder: string, stateFolder: string = join(folder, updatesFolder)): Promise<void> {
  await askToQuit(folder, stateFolder)
}

/**
 * Removes what was installed, while no launcher runs for the install.
 *
 * @throws LauncherError `LA_LOCKED` when one runs or is at work, or the client runs; `LA_NOT_INSTALLED`.
 */
export async function removeInstall(
  { folder, settings }: { readonly folder: string; readonly settings: Settings },
  stateFolder: string = join(folder, updatesFolder),
): Promise<UninstallResult> {
  const remove = async (): Promise<UninstallResult> =>
    await uninstall(folder, { linkedFolders: settings.linkedFolders })
  if (!(await pathExists(stateFolder))) return await remove()
  const result = await withoutDaemon(stateFolder, remove)
  await rmdir(join(folder, updatesFolder)).catch(() => undefined) // held only that lock, or is in use again
  return result
}
