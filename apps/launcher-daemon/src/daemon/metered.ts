import { execFile } from 'node:child_process'
import { join } from 'node:path'

/** Longer is not waited for an answer of the system. */
const ASK_MS = 5_000

/** What NetworkManager says: yes, and "guessed: yes". */
const METERED = new Set(['u 1', 'u 3'])

function ask(file: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(file, [...args], { timeout: ASK_MS, windowsHide: true, maxBuffer: 64 * 1024 }, (error, stdout) =>
      resolve(error === null ? stdout.trim() : undefined),
    )
  })
}

/**
 * Whether the system calls its connection metered: NetworkManager on Linux, the cost of the connection on Windows.
 *
 * @returns `undefined` where the system does not say.
 */
export async function isMetered(
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform,
): Promise<boolean | undefined> {
  if (platform === 'linux') {
    const name = 'org.freedesktop.NetworkManager'
    const path = '/org/freedesktop/NetworkManager'
    const said = await ask('/usr/bin/busctl', ['--system', 'get-property', name, path, name, 'Metered'])
    return said === undefined || said === 'u 0' ? undefined : METERED.has(said)
  }
  if (platform === 'win32') {
    const folder = join(env['SystemRoot'] ?? 'C:\\Windows', 'System32', 'WindowsPowerShell', 'v1.0')
    const type =
      '[Windows.Networking.Connectivity.NetworkInformation,Windows.Networking.Connectivity,ContentType=WindowsRuntime]'
    const script = `${type}::GetInternetConnectionProfile().GetConnectionCost().NetworkCostType`
    const said = await ask(join(folder, 'powershell.exe'), ['-NoProfile', '-NonInteractive', '-Command', script])
    return said === undefined || said === '' || said === 'Unknown' ? undefined : said !== 'Unrestricted'
  }
  return undefined
}
