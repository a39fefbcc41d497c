import { lstatSync, readdirSync } from 'node:fs'
import { join, sep } from 'node:path'
import { foldPath } from '@keyturn/manifest'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'

/** The name that a folder really has for `name`, whatever its case and the spelling of its accents. */
function spelled(folder: string, name: string, fold: (name: string) => string = foldPath): string {
  try {
    const names = readdirSync(folder)
    if (names.includes(name)) return name
    return names.find((found) => fold(found) === fold(name)) ?? name
  } catch {
    return name // no such folder: the call itself says so
  }
}

/** A path below `root` as the disk spells it, as far as it is there. */
export function spelledPath(root: string, path: string, fold?: (name: string) => string): string {
  let place = root
  for (const part of path.split('/')) place = join(place, spelled(place, part, fold))
  return place
}

/** How FAT, exFAT and NTFS compare names: letter by letter. */
export function upcase(path: string): string {
  return Array.from(path, (letter) =>
    letter.toUpperCase().length === letter.length ? letter.toUpperCase() : letter,
  ).join('')
}

/**
 * A file system that keeps the spelling of names and does not tell them apart by it, as on Windows and macOS, below one
 * real folder.
 *
 * @param fold - What a name becomes where names are compared.
 */
export function foldingFileSystem(root: string, fold: (name: string) => string = foldPath): FileSystem {
  const real = (path: unknown): string => {
    const text = String(path)
    if (!text.startsWith(root + sep)) return text
    return spelledPath(root, text.slice(root.length + 1).replaceAll(sep, '/'), fold)
  }
  /** Where a new name goes: its folders as they are spelled, itself as given. */
  const fresh = (path: unknown): string => {
    const text = String(path)
    if (!text.startsWith(root + sep)) return text
    const at = text.lastIndexOf(sep)
    return join(at <= root.length ? root : real(text.slice(0, at)), text.slice(at + 1))
  }
  const fs = nodeFileSystem
  return Object.freeze({
    ...fs,
    chmod: (path: string, mode: number) => fs.chmod(real(path), mode),
    copyFile: (from: string, to: string, mode?: number) => fs.copyFile(real(from), real(to), mode),
    link: (from: string, to: string) => fs.link(real(from), real(to)),
    lstat: (path: string, options?: object) => fs.lstat(real(path), options),
    mkdir: (path: string, options?: object) => fs.mkdir(real(path), options),
    open: (path: string, flags?: string | number, mode?: number) => fs.open(real(path), flags, mode),
    readFile: (path: string, options?: null) => fs.readFile(real(path), options),
    readdir: (path: string) => fs.readdir(real(path)),
    readlink: (path: string) => fs.readlink(real(path)),
    realpath: (path: string) => fs.realpath(real(path)),
    rename: async (from: string, to: string) => {
      const [source, target, there] = [real(from), fresh(to), real(to)]
      if (there !== target && there !== source) {
        // Another file of that name is replaced, and the new spelling stays.
        if (!lstatSync(there).isDirectory()) await fs.rename(source, there)
        else return await fs.rename(source, there)
        return await fs.rename(there, target)
      }
      await fs.rename(source, target)
    },
    rm: (path: string, options?: object) => fs.rm(real(path), options),
    rmdir: (path: string) => fs.rmdir(real(path)),
    stat: (path: string, options?: object) => fs.stat(real(path), options),
    statfs: (path: string) => fs.statfs(real(path)),
    symlink: (target: string, path: string) => fs.symlink(target, real(path)),
    unlink: (path: string) => fs.unlink(real(path)),
    utimes: (path: string, atime: number, mtime: number) => fs.utimes(real(path), atime, mtime),
  }) as FileSystem
}
