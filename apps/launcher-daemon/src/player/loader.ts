/**
 * The script that Node runs first inside a player's launcher. It alone can never be replaced on players' machines, so it is
 * small: it picks the newest bundle that may run and starts it (docs/spec/player-launcher.md §2).
 */
import { createHash } from 'node:crypto'
import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** What the executable and the system give to the loader. */
export interface LoaderHost {
  readonly asset: (name: string) => string
  readonly execPath: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly nodeVersion: string
}

/** The code that runs, and where the launcher keeps what is its own. */
export interface Choice {
  readonly root: string
  readonly code: string
  /** `undefined`: the bundle inside the executable. */
  readonly sha256: string | undefined
}

const isNewer = (a: string, b: string): boolean => {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number)) as [number[], number[]]
  const at = left.findIndex((part, index) => part !== right[index])
  return at >= 0 && (left[at] as number) > (right[at] ?? 0)
}

/** The folder of the executable where it can be written, else one below the user's data. */
function rootOf({ execPath, env }: LoaderHost, id: string): string {
  const beside = dirname(execPath)
  try {
    accessSync(beside, constants.W_OK)
    mkdirSync(join(beside, '.launcher'), { recursive: true, mode: 0o700 })
    return beside
  } catch {
    const data = env['LOCALAPPDATA'] ?? env['XDG_DATA_HOME'] ?? join(env['HOME'] ?? '.', '.local', 'share')
    mkdirSync(join(data, id, '.launcher'), { recursive: true, mode: 0o700 })
    return join(data, id)
  }
}

/** Picks the bundle: the installed one if it is whole, newer, for this Node, and confirmed or tried fewer than twice. */
export function chooseBundle(host: LoaderHost): Choice {
  const config = JSON.parse(host.asset('player.json')) as { id: string; version: string }
  const root = rootOf(host, config.id)
  const embedded: Choice = { root, code: host.asset('bundle'), sha256: undefined }
  try {
    const file = join(root, '.launcher', 'current.json')
    const current = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    const { sha256, version, node, confirmed, tries } = current
    if (node !== Number(host.nodeVersion.split('.')[0]) || !isNewer(String(version), config.version)) return embedded
    if (confirmed !== true && !(Number(tries) < 2)) return embedded
    const code = readFileSync(join(root, '.launcher', `${String(sha256)}.cjs`))
    if (createHash('sha256').update(code).digest('hex') !== sha256) return embedded
    if (confirmed !== true) {
      writeFileSync(`${file}.new`, JSON.stringify({ ...current, tries: Number(tries) + 1 }))
      renameSync(`${file}.new`, file)
    }
    return { root, code: code.toString('utf8'), sha256 }
  } catch {
    return embedded // no pointer, or one that cannot be used: the executable works by itself
  }
}
