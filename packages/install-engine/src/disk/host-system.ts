import { homedir } from 'node:os'
import { posix, win32 } from 'node:path'

/** What differs between the systems a launcher runs on: paths, held files, rights, where a user's data is. */
export interface HostSystem {
  readonly name: 'posix' | 'windows'
  /** Codes of a rename that fails because another program holds the file, so that waiting may help. */
  readonly heldCodes: ReadonlySet<string>
  /**
   * Whether folders are kept private and read-only by mode bits; Windows has access lists, inherited from the profile.
   */
  readonly hasModes: boolean
  /** Whether it starts programs of Windows itself; elsewhere they go through wine. */
  readonly runsExe: boolean
  /** Whether a relative path with forward slashes names a file below its root here, and nothing else. */
  isInside(path: string): boolean
  /** The path below an absolute root, as this system writes it. */
  place(root: string, path: string): string
  /** Folder for what belongs to this user outside every install. */
  userFolder(env: Readonly<Record<string, string | undefined>>): string
}

/** An empty, `.` or `..` part, or a character that cannot be in a name. */
const LEAVES_POSIX = /(?:^|\/)\.{0,2}(?:\/|$)|[\\\0]/
/** On top: drives and streams, what ends in a dot or space (NTFS drops both), and names of devices. */
const LEAVES_WINDOWS =
  /[:<>"|?*\u0001-\u001f]|[. ](?:\/|$)|(?:^|\/)(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:[. ][^/]*)?(?:\/|$)/i

function below(root: string, path: string, separator: string): string {
  return (
    (root.endsWith(separator) ? root : root + separator) + (separator === '/' ? path : path.replaceAll('/', separator))
  )
}

/** Linux and macOS. */
export const posixSystem: HostSystem = Object.freeze({
  name: 'posix',
  heldCodes: new Set(['EBUSY', 'ETXTBSY']),
  hasModes: true,
  runsExe: false,
  isInside: (path: string) => !LEAVES_POSIX.test(path),
  place: (root: string, path: string) => below(root, path, posix.sep),
  userFolder: (env: Readonly<Record<string, string | undefined>>) =>
    posix.join(env['XDG_DATA_HOME'] ?? posix.join(env['HOME'] ?? homedir(), '.local', 'share'), 'keyturn-launcher'),
})

/** Windows: a file that is open without sharing cannot be renamed, and says so as a missing right. */
export const windowsSystem: HostSystem = Object.freeze({
  name: 'windows',
  heldCodes: new Set(['EBUSY', 'ETXTBSY', 'EPERM', 'EACCES']),
  hasModes: false,
  runsExe: true,
  isInside: (path: string) => !LEAVES_POSIX.test(path) && !LEAVES_WINDOWS.test(path),
  place: (root: string, path: string) => below(root, path, win32.sep),
  userFolder: (env: Readonly<Record<string, string | undefined>>) =>
    win32.join(
      env['LOCALAPPDATA'] ?? win32.join(env['USERPROFILE'] ?? homedir(), 'AppData', 'Local'),
      'keyturn-launcher',
    ),
})

/** The system this process runs on. */
export const hostSystem: HostSystem = process.platform === 'win32' ? windowsSystem : posixSystem
