import { join } from 'node:path'
import { foldPath } from '@keyturn/manifest'
import { systemErrorCode } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { look } from './disk.ts'
import { untilForgotten } from './remembered-names.ts'

/** How the folders above a path are. */
export type Parents = 'real' | 'missing' | { readonly blockedAt: string }

/** Remembers which folders below the root are real, so that each is looked at once in an apply. */
export class FolderGuard {
  readonly #root: string
  readonly #fs: FileSystem
  readonly #links: ReadonlySet<string>
  readonly #real = new Set<string>()

  /** @param links - Folders below the root that may be links on this machine. */
  constructor(root: string, fs: FileSystem, links: readonly string[] = []) {
    this.#root = root
    this.#fs = fs
    this.#links = new Set(links)
  }

  /**
   * How the folders above a path are: all there, one missing, or one that is a file.
   *
   * @throws LauncherError `LA_SYMLINK` when one is a link that this machine does not allow.
   */
  async parents(path: string): Promise<Parents> {
    const slash = path.lastIndexOf('/')
    if (slash < 0 || this.#real.has(path.slice(0, slash))) return 'real' // files of a folder follow one another
    const parts = path.split('/').slice(0, -1)
    for (let count = 1; count <= parts.length; count++) {
      const folder = parts.slice(0, count).join('/')
      if (this.#real.has(folder)) continue
      const found = await look(this.#fs, join(this.#root, folder))
      if (found.kind === 'nothing') return 'missing'
      if (found.kind === 'file' || found.what === 'special file') return { blockedAt: folder }
      if (found.what === 'link') await this.#requireAllowed(folder)
      this.#real.add(folder)
    }
    return 'real'
  }

  async #requireAllowed(folder: string): Promise<void> {
    const isAllowed = this.#links.has(folder)
    if (isAllowed && (await this.#fs.stat(join(this.#root, folder)).catch(() => undefined))?.isDirectory() === true)
      return
    throw new LauncherError(
      'LA_SYMLINK',
      isAllowed
        ? `Cannot use the linked folder "${folder}": the link leads to no folder`
        : `Cannot work below "${folder}": it is a link, not a folder`,
      {
        details: { path: folder },
        hint: isAllowed
          ? 'Connect the disk that the folder was moved to, or replace the link by a folder and repair'
          : `If you moved the folder to another disk yourself, allow the link once with --linked-folder ${folder}`,
      },
    )
  }

  /** Whether all folders above a path are there. */
  async parentsAreReal(path: string): Promise<boolean> {
    return (await this.parents(path)) === 'real'
  }

  /**
   * Makes the folders above a path, none through a link.
   *
   * @throws LauncherError `LA_IN_THE_WAY` when one of them is a file.
   */
  async makeParents(path: string): Promise<void> {
    const parts = path.split('/').slice(0, -1)
    for (let count = 1; count <= parts.length; count++) {
      const folder = parts.slice(0, count).join('/')
      if (this.#real.has(folder)) continue
      const stands = await this.#parentsNow(`${folder}/x`)
      if (stands === 'real') continue
      if (stands !== 'missing') throw inTheWay(path, stands.blockedAt)
      try {
        await this.#fs.mkdir(join(this.#root, folder))
      } catch (error) {
        if (systemErrorCode(error) !== 'EEXIST') throw error
      }
      this.#real.add(folder)
    }
  }

  /** As {@link parents}, but what is in the way is asked for until the system does not only remember it. */
  async #parentsNow(path: string): Promise<Parents> {
    const stands = await this.parents(path)
    if (typeof stands === 'string') return stands
    await untilForgotten(this.#fs, join(this.#root, stands.blockedAt))
    return await this.parents(path)
  }

  /** Forgets every folder. */
  forgetAll(): void {
    this.#real.clear()
  }

  /** Forgets a folder and what is below it, in every spelling, after it was removed or moved. */
  forget(folder: string): void {
    const folded = foldPath(folder)
    for (const known of this.#real) {
      const name = foldPath(known)
      if (name === folded || name.startsWith(`${folded}/`)) this.#real.delete(known)
    }
  }
}

/** The error for something that appeared in the place of a file of the release after the update was planned. */
export function inTheWay(path: string, obstacle: string): LauncherError {
  return new LauncherError('LA_IN_THE_WAY', `Cannot install "${path}": "${obstacle}" is in its place`, {
    details: { path, obstacle },
    hint: 'Move it elsewhere, or update again: then it is set aside',
  })
}
