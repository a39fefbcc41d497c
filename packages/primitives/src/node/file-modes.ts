import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isMissing, systemErrorCode } from './file-system.ts'

/** What keeps a file from its owner, or opens it to others. */
export interface ModeProblem {
  readonly path: string
  readonly problem: 'owner' | 'unreadable' | 'open'
  /** Permission bits. */
  readonly mode: number
  /** The command that fixes it. */
  readonly fix: string
}

/** What is expected of the files of a folder. */
export interface ModeRules {
  /** Files that nobody else may even read, by their path in the folder with `/`. */
  readonly isSecret: (path: string) => boolean
  /** Folders that are not looked into, and files that are not looked at. */
  readonly isLeftOut?: ((path: string) => boolean) | undefined
}

const FOLDER_BITS = 0o700
const FILE_BITS = 0o600
const OPEN_SECRET = 0o077
const WRITABLE_BY_ALL = 0o002

/**
 * Finds files and folders that belong to another user than the folder should, that their owner cannot read and write,
 * or that others can change; of secrets those that others can read. Nothing on Windows, where access lists decide.
 *
 * @param folder - Where; itself included.
 * @param rules - What is expected.
 */
export async function findModeProblems(folder: string, rules: ModeRules): Promise<ModeProblem[]> {
  const uid = process.getuid?.()
  if (uid === undefined) return []
  const found: ModeProblem[] = []
  const look = async (path: string, name: string): Promise<void> => {
    if (rules.isLeftOut?.(name) === true) return
    const stats = await lstat(path).catch(undefinedIfMissing)
    if (stats === undefined || (!stats.isFile() && !stats.isDirectory())) return
    const wanted = stats.isDirectory() ? FOLDER_BITS : FILE_BITS
    const mode = stats.mode & 0o777
    const say = (problem: ModeProblem['problem'], fix: string): void =>
      void found.push({ path, problem, mode, fix: `${fix} '${path}'` })
    if (stats.uid !== uid) return say('owner', `chown ${uid}`)
    // A file that is never changed may be read-only; a folder that cannot be written takes nothing new.
    const needed = stats.isDirectory() ? FOLDER_BITS : wanted & 0o400
    if ((mode & needed) !== needed) say('unreadable', stats.isDirectory() ? 'chmod u+rwx' : 'chmod u+rw')
    if ((mode & (rules.isSecret(name) ? OPEN_SECRET : WRITABLE_BY_ALL)) !== 0)
      say('open', rules.isSecret(name) ? 'chmod go-rwx' : 'chmod o-w')
    if (stats.isDirectory())
      for (const entry of await namesIn(path)) await look(join(path, entry), name === '' ? entry : `${name}/${entry}`)
  }
  await look(folder, '')
  return found
}

/** A folder that cannot be read was reported as such. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).toSorted()
  } catch (error) {
    if (isMissing(error) || systemErrorCode(error) === 'EACCES') return []
    throw error
  }
}

function undefinedIfMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error
}
