/**
 * The script that Node runs first inside a player's launcher. It alone can never be replaced on players' machines, so
 * it is small: it picks the newest bundle that may run and starts it (docs/spec/player-launcher.md §2).
 */
import { createHash } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** What the executable and the system give to the loader. */
export interface LoaderHost {
  readonly asset: (name: string) => string
  readonly execPath: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly nodeVersion: string
}

/** The code that runs; `sha256` is `undefined` for the bundle inside the executable. */
export interface Choice {
  readonly root: string
  readonly code: string
  readonly sha256: string | undefined
}

type Build = { sha256?: unknown; version?: unknown; node?: unknown }
type Pointer = Build & { confirmed?: unknown; tries?: unknown; previous?: Build }

/** Whether version `a`, three numbers, comes after `b`. */
function isNewer(a: string, b: string): boolean {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)]
  if (!/^\d+\.\d+\.\d+$/.test(a)) return false
  const at = left.findIndex((part, index) => part !== right[index])
  return at >= 0 && (left[at] as number) > (right[at] as number)
}

/** Makes the launcher's own folder. One that others made or may write could hold code of theirs. */
function makeOwn(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { mode, uid } = lstatSync(folder)
  const isOurs = process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0)
  if ((mode & constants.S_IFMT) !== constants.S_IFDIR || !isOurs) throw new Error(`"${folder}" is not ours alone`)
}

/** Reads a file that nobody else can have put there: no link, of this user, and written by this user alone. */
function readOwn(path: string): Buffer {
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  try {
    const { mode, uid } = fstatSync(file)
    const isOurs = process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0)
    if ((mode & constants.S_IFMT) !== constants.S_IFREG || !isOurs) throw new Error(`"${path}" is not ours alone`)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/** The folder of the executable where it can be written, else one below the user's data. */
function rootOf({ execPath, env }: LoaderHost, id: string): string {
  const data = env['LOCALAPPDATA'] ?? env['XDG_DATA_HOME'] ?? join(env['HOME'] ?? '.', '.local', 'share')
  try {
    accessSync(dirname(execPath), constants.W_OK)
    makeOwn(join(dirname(execPath), '.launcher'))
    return dirname(execPath)
  } catch {
    makeOwn(join(data, id, '.launcher'))
    return join(data, id)
  }
}

/**
 * Picks the current bundle if it is confirmed or was tried fewer than twice, else the one before, else the embedded
 * one.
 */
export function chooseBundle(host: LoaderHost): Choice {
  const config = JSON.parse(host.asset('player.json')) as { id: string; version: string }
  const root = rootOf(host, config.id)
  const file = join(root, '.launcher', 'current.json')
  /** The bundle of a build, if it is whole, newer than the executable's own, and made for this Node. */
  const load = ({ sha256, version, node }: Build): Choice | undefined => {
    if (node !== parseInt(host.nodeVersion, 10) || !isNewer(String(version), config.version)) return undefined
    const code = readOwn(join(root, '.launcher', `${String(sha256)}.cjs`))
    const found = createHash('sha256').update(code).digest('hex')
    return found === sha256 ? { root, code: code.toString('utf8'), sha256: found } : undefined
  }
  try {
    const current = JSON.parse(readOwn(file).toString('utf8')) as Pointer
    const tries = Number(current.tries)
    const chosen = current.confirmed === true || tries < 2 ? load(current) : undefined
    if (chosen !== undefined && current.confirmed !== true) {
      rmSync(`${file}.new`, { force: true })
      writeFileSync(`${file}.new`, JSON.stringify({ ...current, tries: tries + 1 }), { flag: 'wx', mode: 0o600 })
      renameSync(`${file}.new`, file) // before the bundle runs: one that crashes has used up a try
    }
    const usable = chosen ?? (current.previous === undefined ? undefined : load(current.previous))
    if (usable !== undefined) return usable
  } catch {
    // no pointer, or one that cannot be used: the executable works by itself
  }
  return { root, code: host.asset('bundle'), sha256: undefined }
}
