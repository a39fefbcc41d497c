import { lstatSync, mkdirSync, realpathSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'

const GROUP_AND_OTHERS_WRITE = 0o022
const STICKY = 0o1000

/**
 * From the second start on, modules come compiled. What is in such a cache is run as it is: Node checks neither who
 * wrote it nor what it holds, and its own choice is a foreseeable name in the shared temporary folder. So the cache is
 * in a folder that only this user can write to, or there is none.
 */
export function usePrivateCompileCache(env: Readonly<NodeJS.ProcessEnv> = process.env): void {
  if (env['NODE_COMPILE_CACHE'] !== undefined || env['NODE_DISABLE_COMPILE_CACHE'] !== undefined) return
  const folder = privateCacheFolder(env)
  if (folder !== undefined) enableCompileCache(folder)
}

/** The folder for the cache, created if it is missing; `undefined` where others could write to it. */
export function privateCacheFolder(env: Readonly<NodeJS.ProcessEnv>): string | undefined {
  const parent = cacheHome(env)
  if (parent === undefined || !isAbsolute(parent)) return undefined
  const folder = join(parent, 'keyturn', 'compiled')
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const real = realpathSync(folder) // a link on the way may lead elsewhere later
    return isOursAlone(real) ? real : undefined
  } catch {
    return undefined // no home folder, or a read-only one: the start takes a little longer
  }
}

function cacheHome(env: Readonly<NodeJS.ProcessEnv>): string | undefined {
  // Folders below a Windows profile are private by their access lists.
  if (process.platform === 'win32') return env['LOCALAPPDATA']
  return env['XDG_CACHE_HOME'] || join(homedir(), process.platform === 'darwin' ? 'Library/Caches' : '.cache')
}

/** The folder belongs to this user and is closed to all others, and nobody else can put another in its place. */
function isOursAlone(folder: string): boolean {
  if (process.geteuid === undefined) return true
  const own = process.geteuid()
  const { mode, uid } = lstatSync(folder)
  if (uid !== own || (mode & 0o077) !== 0) return false
  for (let place = folder; place !== dirname(place); place = dirname(place)) {
    const parent = lstatSync(dirname(place))
    const isSafe = (parent.mode & GROUP_AND_OTHERS_WRITE) === 0 || (parent.mode & STICKY) !== 0
    if (!isSafe || (parent.uid !== own && parent.uid !== 0)) return false
  }
  return true
}
