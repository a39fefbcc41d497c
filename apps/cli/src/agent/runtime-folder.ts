import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { printable } from '@keyturn/primitives'
import { CliError } from '../errors.ts'

/** Longest path of a socket that every system takes, bytes. */
const MAX_SOCKET_PATH = 100

/** What decides where the socket is. */
export interface AgentPlace {
  readonly homeFolder: string
  readonly env: Readonly<Record<string, string | undefined>>
}

/**
 * Where the agent of a home answers. On Windows it is a named pipe; elsewhere a socket in a folder of mode 0700 that
 * belongs to this user, on a file system that a reboot empties where there is one.
 */
export function agentAddress({ homeFolder, env }: AgentPlace): string {
  const { username, uid } = userInfo()
  const name = createHash('sha256')
    .update(`${username}\0${resolve(homeFolder)}`)
    .digest('hex')
    .slice(0, 24)
  if (process.platform === 'win32') return `\\\\.\\pipe\\keyturn-${name}`
  const candidates = [env['XDG_RUNTIME_DIR'], tmpdir()].filter((folder) => folder !== undefined && folder !== '')
  const paths = candidates.map((folder, at) =>
    join(folder as string, at === 0 && candidates.length === 2 ? 'keyturn' : `keyturn-${uid}`, `${name}.sock`),
  )
  return paths.find((path) => Buffer.byteLength(path) <= MAX_SOCKET_PATH) ?? `/tmp/keyturn-${uid}/${name}.sock`
}

/**
 * Makes the folder of the socket, closed to others.
 *
 * @throws {@link CliError} `CLI_AGENT` when the folder is a link, another user's, or open to others.
 */
export function makeRuntimeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 })
    // Whatever the umask is.
    chmodSync(folder, 0o700)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new CliError('CLI_AGENT', `Cannot make "${printable(folder)}" for the socket of the agent`, { cause })
  }
  const problem = problemOf(folder, 'folder')
  if (problem !== undefined)
    throw new CliError('CLI_AGENT', `"${printable(folder)}" ${problem}, so nothing is unlocked`, {
      hint: 'Remove it, or let XDG_RUNTIME_DIR name a folder of your own',
    })
}

/**
 * What keeps a socket or its folder from being believed; undefined when it belongs to this user alone.
 *
 * @throws NodeJS.ErrnoException when it is not there.
 */
export function problemOf(path: string, kind: 'folder' | 'socket'): string | undefined {
  const stats = lstatSync(path)
  if (kind === 'folder' ? !stats.isDirectory() : !stats.isSocket()) return `is not a ${kind}`
  if (stats.uid !== process.getuid?.()) return 'belongs to another user'
  if ((stats.mode & 0o077) !== 0) return 'is open to other users'
  return undefined
}
