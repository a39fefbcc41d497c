import { join } from 'node:path'
import { foldPath } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { listFolder, look, placeInside } from '../disk/disk.ts'
import type { Layout } from '../disk/layout.ts'
import { SameName } from '../disk/same-name.ts'
import type { AsideStep } from './transaction.ts'

/** What finding obstacles works with. */
export interface ObstacleSearch {
  readonly fs: FileSystem
  readonly layout: Layout
  /** Paths that leave in the same change. */
  readonly removals: readonly string[]
  /** Paths that the release lists: nothing is renamed to one of them, or to a folder of one. */
  readonly listed: readonly string[]
}

/** A file or folder of the player's in the way, with the files it holds. */
export interface Obstacle extends AsideStep {
  readonly files: readonly string[]
}

/** The part of a name that says what happened to it; the player finds the file beside its old place. */
const SUFFIX = '.set-aside'

/** Names of what leaves, as the disk may spell them. */
class Leaving {
  readonly #exact: ReadonlySet<string>
  readonly #byFold: ReadonlyMap<string, string>
  readonly #names: SameName

  constructor({ fs, layout, removals }: ObstacleSearch) {
    this.#exact = new Set(removals)
    this.#byFold = new Map(removals.map((path) => [foldPath(path), path]))
    this.#names = new SameName(fs, layout.root)
  }

  /** Whether a found path leaves: by its very name, or by another spelling that is the same file here. */
  async has(path: string): Promise<boolean> {
    if (this.#exact.has(path)) return true
    const other = this.#byFold.get(foldPath(path))
    return other !== undefined && (await this.#names.isOne(path, other))
  }
}

/** Files in a folder that do not leave. */
async function staying(search: ObstacleSearch, folder: string, leaving: Leaving): Promise<string[]> {
  const place = placeInside(search.layout.root, folder)
  const files: string[] = []
  for (const name of await listFolder(search.fs, place)) {
    const path = `${folder}/${name}`
    const found = await look(search.fs, join(place, name))
    if (found.kind === 'other' && found.what === 'folder') files.push(...(await staying(search, path, leaving)))
    else if (!(await leaving.has(path))) files.push(path)
  }
  return files
}

/** A name beside the old one that is neither on the disk nor taken. */
export async function freeName(
  search: Pick<ObstacleSearch, 'fs' | 'layout'>,
  path: string,
  taken: ReadonlySet<string>,
): Promise<string> {
  for (let count = 1; ; count++) {
    const to = `${path}${SUFFIX}${count === 1 ? '' : `-${count}`}`
    if (taken.has(foldPath(to))) continue
    if ((await look(search.fs, placeInside(search.layout.root, to))).kind === 'nothing') return to
  }
}

/** Every listed path and every folder above one, folded. */
function takenNames(listed: readonly string[]): Set<string> {
  const taken = new Set<string>()
  for (const path of listed) {
    for (
      let name = foldPath(path);
      name !== '' && !taken.has(name);
      name = name.slice(0, Math.max(0, name.lastIndexOf('/')))
    )
      taken.add(name)
  }
  return taken
}

/**
 * Of places where the release needs room, those that hold something of the player's: it is set aside, whole. What only
 * holds files that leave in the same change is not an obstacle.
 */
export async function findObstacles(search: ObstacleSearch, places: Iterable<string>): Promise<Obstacle[]> {
  const obstacles: Obstacle[] = []
  const leaving = new Leaving(search)
  const names = new SameName(search.fs, search.layout.root)
  const found = new Map<string, string>()
  let taken: Set<string> | undefined
  for (const path of new Set(places)) {
    const there = await look(search.fs, placeInside(search.layout.root, path))
    if (there.kind === 'nothing') continue
    const isFolder = there.kind === 'other' && there.what === 'folder'
    const files = isFolder ? await staying(search, path, leaving) : (await leaving.has(path)) ? [] : [path]
    if (files.length === 0) continue
    // A release may spell one folder in two ways; here it is one file that is in the way of both.
    const other = found.get(foldPath(path))
    if (other !== undefined && (await names.isOne(path, other))) continue
    found.set(foldPath(path), path)
    taken ??= takenNames(search.listed)
    const to = await freeName(search, path, taken)
    taken.add(foldPath(to))
    obstacles.push({ path, to, files })
  }
  return obstacles
}
