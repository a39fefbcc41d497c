import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { rm } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { nodeFileSystem, writeFileAtomic } from '@keyturn/primitives/node'

/** What the window is opened with; seams for tests. */
export interface WindowOptions {
  readonly platform?: NodeJS.Platform | undefined
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Folder that only this user reads: the browser's profile and the hand-over file go there. */
  readonly folder: string
  readonly start?: ((program: string, args: readonly string[]) => void) | undefined
}

/** Browsers that can show a page without their own buttons, the likeliest first. */
const WINDOWS_BROWSERS: readonly (readonly [string, string])[] = [
  ['ProgramFiles(x86)', 'Microsoft\\Edge\\Application\\msedge.exe'],
  ['ProgramFiles', 'Microsoft\\Edge\\Application\\msedge.exe'],
  ['ProgramFiles', 'Google\\Chrome\\Application\\chrome.exe'],
  ['ProgramFiles(x86)', 'Google\\Chrome\\Application\\chrome.exe'],
  ['LOCALAPPDATA', 'Google\\Chrome\\Application\\chrome.exe'],
  ['LOCALAPPDATA', 'Chromium\\Application\\chrome.exe'],
  ['ProgramFiles', 'BraveSoftware\\Brave-Browser\\Application\\brave.exe'],
]
const LINUX_BROWSERS = ['microsoft-edge', 'google-chrome', 'chromium', 'chromium-browser', 'brave-browser']

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The first browser of this machine that has an application window, if there is one. */
export function findBrowser(
  platform: NodeJS.Platform,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const places =
    platform === 'win32'
      ? WINDOWS_BROWSERS.flatMap(([base, path]) => {
          const folder = env[base]
          return folder === undefined || folder === '' ? [] : [`${folder}\\${path}`]
        })
      : LINUX_BROWSERS.flatMap((name) =>
          (env['PATH'] ?? '')
            .split(delimiter)
            .filter((folder) => folder !== '')
            .map((folder) => join(folder, name)),
        )
  return places.find(isExecutable)
}

const OPENERS: Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>> = {
  linux: ['xdg-open'],
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

/** A browser that ends in this time with an error has shown nothing. */
const FAILED_START_MS = 10_000

function startDetached(program: string, args: readonly string[], target: string): void {
  const startedMs = performance.now()
  const child = spawn(program, args, { detached: true, stdio: 'ignore', windowsHide: false })
  const sayAddress = (): void =>
    void process.stderr.write(`No browser could be started. Open this address in one: ${target}\n`)
  child.on('error', sayAddress)
  // On a machine without a screen, a browser ends as soon as it has started.
  child.on('exit', (code) => void (code !== 0 && performance.now() - startedMs < FAILED_START_MS && sayAddress()))
  child.unref()
}

/**
 * Shows the page: in a window of its own where Edge, Chrome, Chromium or Brave is found, else in the default browser.
 *
 * The address holds a code that opens the page once. It never becomes an argument, which other users can read: the
 * browser is given a file of mode 0600 that leads to it. {@link removeHandOver} deletes the file once the page was
 * opened.
 */
export async function openWindow(address: string, options: WindowOptions): Promise<void> {
  const { platform = process.platform, env = process.env, folder } = options
  const file = handOverFile(folder)
  await nodeFileSystem.mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFileAtomic(file, new TextEncoder().encode(handOverPage(address)), { mode: 0o600, durable: false })
  const target = pathToFileURL(file).href
  const start = options.start ?? ((program, args) => startDetached(program, args, target))
  const browser = findBrowser(platform, env)
  if (browser !== undefined) {
    start(browser, [
      `--app=${target}`,
      `--user-data-dir=${join(folder, 'browser')}`,
      '--window-size=960,640',
      '--no-first-run',
      '--no-default-browser-check',
    ])
    return
  }
  const [program, ...args] = OPENERS[platform] ?? ['xdg-open']
  start(program, [...args, target])
}

/** Shows an address in the player's own browser. It becomes an argument, which other users can read. */
export function openAddress(address: string, platform: NodeJS.Platform = process.platform): void {
  const [program, ...args] = OPENERS[platform] ?? ['xdg-open']
  startDetached(program, [...args, address], address)
}

/** Deletes the file that led to the page; its code is spent. */
export async function removeHandOver(folder: string): Promise<void> {
  await rm(handOverFile(folder), { force: true })
}

function handOverFile(folder: string): string {
  return join(folder, 'open.html')
}

/** The address is made by this program: URL characters only. */
function handOverPage(address: string): string {
  const url = new URL(address).href.replaceAll('&', '&amp;').replaceAll('"', '&quot;')
  return `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=${url}"><title></title>\n`
}
