import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * The folder with keys and logs when neither `--home` nor `$KEYTURN_HOME` names one: in the platform's data folder.
 *
 * @param env - Variables of the process.
 * @param platform - As `process.platform`.
 */
export function defaultHomeFolder(
  env: Readonly<Record<string, string | undefined>>,
  platform: string = process.platform,
): string {
  if (platform === 'win32') return join(env['APPDATA'] ?? join(homedir(), 'AppData', 'Roaming'), 'keyturn')
  if (platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'keyturn')
  return join(env['XDG_DATA_HOME'] ?? join(homedir(), '.local', 'share'), 'keyturn')
}
