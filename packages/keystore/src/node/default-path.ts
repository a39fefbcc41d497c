import { homedir } from 'node:os'
import { posix, win32 } from 'node:path'

/** Options of {@link defaultKeystorePath}; each defaults to this process. */
export interface DefaultPathOptions {
  readonly platform?: NodeJS.Platform | undefined
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  readonly home?: string | undefined
}

/**
 * Where the keystore of an application belongs: `$XDG_DATA_HOME/<app>/keystore` (`~/.local/share` without the variable)
 * on Linux and other Unix systems, `~/Library/Application Support/<app>/keystore` on macOS,
 * `%LOCALAPPDATA%\\<app>\\keystore` on Windows, where files do not roam to other machines.
 *
 * @param app - One folder name: letters, digits, dot, dash and underscore.
 * @throws RangeError for another name.
 */
export function defaultKeystorePath(app: string, options: DefaultPathOptions = {}): string {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/.test(app))
    throw new RangeError(`Application name ${JSON.stringify(app)} is not one folder name of letters, digits, . - _`)
  const { platform = process.platform, env = process.env, home = homedir() } = options
  if (platform === 'win32')
    return win32.join(env['LOCALAPPDATA'] ?? win32.join(home, 'AppData', 'Local'), app, 'keystore')
  if (platform === 'darwin') return posix.join(home, 'Library', 'Application Support', app, 'keystore')
  // The specification says to ignore a relative path.
  const xdg = env['XDG_DATA_HOME']
  const base = xdg !== undefined && posix.isAbsolute(xdg) ? xdg : posix.join(home, '.local', 'share')
  return posix.join(base, app, 'keystore')
}
