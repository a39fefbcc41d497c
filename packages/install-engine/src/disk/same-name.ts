import { join } from 'node:path'
import { foldPath } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { listFolder, look, placeInside } from './disk.ts'

/**
 * Tells whether two spellings of a path name one file here. Asked of the folders themselves: inodes and times of file
 * systems that fold names say little, and how far they fold differs (`ß` and `SS` are one on macOS, two on exFAT).
 */
export class SameName {
  readonly #fs: FileSystem
  readonly #root: string
  readonly #listings = new Map<string, Promise<ReadonlySet<string>>>()

  constructor(fs: FileSystem, root: string) {
    this.#fs = fs
    this.#root = root
  }

  #listing(folder: string): Promise<ReadonlySet<string>> {
    const known = this.#listings.get(folder)
    if (known !== undefined) return known
    const listing = listFolder(this.#fs, join(this.#root, folder)).then((names) => new Set(names))
    this.#listings.set(folder, listing)
    return listing
  }

  /** Whether both are there, and are one. */
  async isOne(path: string, other: string): Promise<boolean> {
    if (path === other || foldPath(path) !== foldPath(other)) return path === other
    for (const name of [path, other])
      if ((await look(this.#fs, placeInside(this.#root, name))).kind === 'nothing') return false
    const others = other.split('/')
    const parts = path.split('/')
    for (const [index, part] of parts.entries()) {
      const spelling = others[index]
      if (spelling === undefined || part === spelling) continue
      // A folder that lists both spellings has two files.
      const names = await this.#listing(parts.slice(0, index).join('/'))
      if (names.has(part) && names.has(spelling)) return false
    }
    return true
  }
}
