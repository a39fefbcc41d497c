import { createHash } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { copyFile, lstat, mkdir, open, readdir, readFile, realpath, writeFile } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import { CliError } from '../errors.ts'

/** A tree of real files that the demonstration may edit. */
export interface DemoTree {
  readonly folder: string
  readonly files: number
  readonly bytes: number
  /** Files left out: links and what is too large to be quick. */
  readonly skipped: number
}

/** Files larger than this are left out of the default input. */
const MAX_DEFAULT_FILE_BYTES = 48 * 1024 * 1024
/** The least that shows anything. */
const LARGE_ENOUGH_BYTES = 1_000_000
/** How large the default input becomes: the demonstration takes a minute or two. */
const ENOUGH_BYTES = 240_000_000

/**
 * Copies a tree, files and folders only, so that it can be edited.
 *
 * @param from - The input.
 * @param to - A new folder.
 * @param signal - Stops the copy.
 * @throws {@link CliError} `BUILD_SPECIAL_FILE`, `BUILD_EMPTY`.
 */
export async function copyTree(from: string, to: string, signal: AbortSignal): Promise<DemoTree> {
  const total = { folder: to, files: 0, bytes: 0, skipped: 0 }
  await copyFolder(from, to, { signal, count: total, wanted: () => true })
  if (total.files === 0) throw new CliError('BUILD_EMPTY', `No file in "${from}"`)
  return total
}

/**
 * Gathers installed packages into a few top folders: thousands of real files, text and binaries; in a checkout well
 * above 100 MB, beside an installed program what came with it. Which packages are taken when there are more than enough
 * depends on their names alone.
 *
 * @param modules - A `node_modules` folder.
 * @param to - A new folder.
 * @param signal - Stops the copy.
 * @throws {@link CliError} `BUILD_EMPTY` when too little is there.
 */
export async function copyDependencies(modules: string, to: string, signal: AbortSignal): Promise<DemoTree> {
  const total = { folder: to, files: 0, bytes: 0, skipped: 0 }
  const packages = (await installedPackages(modules)).toSorted((a, b) =>
    compareRank(rank('demo', a.name), rank('demo', b.name)),
  )
  for (const { name, folder } of packages) {
    if (total.bytes >= ENOUGH_BYTES) break
    const small = (size: number): boolean => size <= MAX_DEFAULT_FILE_BYTES
    await copyFolder(folder, join(to, topFolder(name), name.replace('/', '+')), { signal, count: total, wanted: small })
  }
  if (total.bytes < LARGE_ENOUGH_BYTES) {
    throw new CliError('BUILD_EMPTY', `Only ${total.bytes} bytes of dependencies in "${modules}"`, {
      hint: 'Give a tree of your own with --input',
    })
  }
  return total
}

/** Three archives of about equal weight. */
function topFolder(packageName: string): string {
  if (packageName.startsWith('@')) return 'scoped'
  return packageName.charAt(0).toLowerCase() <= 'm' ? 'a-m' : 'n-z'
}

interface InstalledPackage {
  readonly name: string
  readonly folder: string
}

/** Every package once, by its real folder: the store keeps them below `.pnpm`, other installers at the top. */
async function installedPackages(modules: string): Promise<InstalledPackage[]> {
  const found = new Map<string, string>()
  const store = join(modules, '.pnpm')
  const stored = await readdir(store).catch(() => [])
  const roots = (stored.length > 0 ? stored.map((entry) => join(store, entry, 'node_modules')) : [modules]).toSorted()
  for (let root = roots.shift(); root !== undefined; root = roots.shift()) {
    for (const { name, folder } of await packagesIn(root)) {
      if (!found.has(name)) found.set(name, folder)
      roots.push(join(folder, 'node_modules'))
    }
  }
  return [...found].map(([name, folder]) => ({ name, folder }))
}

async function packagesIn(root: string): Promise<InstalledPackage[]> {
  const found: InstalledPackage[] = []
  for (const entry of await folders(root)) {
    if (entry.name.startsWith('.')) continue
    if (!entry.name.startsWith('@')) found.push({ name: entry.name, folder: join(root, entry.name) })
    else
      for (const scoped of await folders(join(root, entry.name))) {
        found.push({ name: `${entry.name}/${scoped.name}`, folder: join(root, entry.name, scoped.name) })
      }
  }
  return found
}

/** Real folders only: links lead to packages that are found at their own place. */
async function folders(root: string): Promise<Dirent[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory())
}

interface Count {
  files: number
  bytes: number
  skipped: number
}

interface Copying {
  readonly signal: AbortSignal
  /** Counts what is copied and what is left. */
  readonly count: Count
  /** Whether a file of this size is copied. */
  readonly wanted: (size: number) => boolean
}

async function copyFolder(from: string, to: string, copying: Copying): Promise<void> {
  const { signal, count, wanted } = copying
  signal.throwIfAborted()
  await mkdir(to, { recursive: true })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    if (entry.isDirectory()) {
      // A package's own nested dependencies are links below the store; bin folders hold links too.
      if (entry.name !== 'node_modules') await copyFolder(source, join(to, entry.name), copying)
    } else if (entry.isFile()) {
      const { size } = await lstat(source)
      if (!wanted(size)) count.skipped += 1
      else {
        await copyFile(source, join(to, entry.name))
        count.files += 1
        count.bytes += size
      }
    } else count.skipped += 1
  }
}

/** What an edit touched. */
export interface DemoEdit {
  readonly files: number
  readonly modules: number
}

/** Depth of the folders that are edited as a whole: a module of a program, a level of a game. */
const MODULE_DEPTH = 2

/**
 * Edits a share of the files of a tree as developers do: some modules, many files in each; a changed line in text, a
 * few changed bytes in binaries. Which ones depends on their names alone, so that a run can be repeated.
 *
 * @param tree - The tree.
 * @param share - 0.03 for 3 %.
 * @param seed - Another seed, other folders.
 * @param signal - Stops the edit.
 */
export async function editTree(tree: DemoTree, share: number, seed: string, signal: AbortSignal): Promise<DemoEdit> {
  const modules = await filesByModule(tree.folder)
  const order = [...modules.keys()].toSorted((a, b) => compareRank(rank(seed, a), rank(seed, b)))
  const due = Math.max(1, Math.round(tree.files * share))
  let files = 0
  let touched = 0
  for (const module of order) {
    if (files >= due) break
    touched += 1
    for (const path of modules.get(module) ?? []) {
      signal.throwIfAborted()
      if (files >= due) break
      await editFile(path, seed)
      files += 1
    }
  }
  return { files, modules: touched }
}

async function filesByModule(root: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const module = entry.parentPath
      .slice(root.length + 1)
      .split(sep)
      .slice(0, MODULE_DEPTH)
      .join('/')
    const path = join(entry.parentPath, entry.name)
    const files = found.get(module)
    if (files === undefined) found.set(module, [path])
    else files.push(path)
  }
  for (const paths of found.values()) paths.sort()
  return found
}

function rank(seed: string, name: string): string {
  return createHash('sha256').update(`${seed}\0${name}`).digest('hex')
}

function compareRank(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

async function editFile(path: string, seed: string): Promise<void> {
  const bytes = await readFile(path)
  if (isText(bytes)) {
    await writeFile(path, Buffer.concat([Buffer.from(`// edited ${seed}\n`), bytes]))
    return
  }
  const handle = await open(path, 'r+')
  try {
    const at = Math.max(0, Math.floor(bytes.length / 2) - 8)
    await handle.write(createHash('sha256').update(`${seed}\0${path}`).digest().subarray(0, 16), 0, 16, at)
  } finally {
    await handle.close()
  }
}

function isText(bytes: Uint8Array): boolean {
  return !bytes.subarray(0, 8192).includes(0)
}

/**
 * The `node_modules` folder to take when no input is given: the nearest one above this program that holds enough, else
 * the outermost one that the program was installed into.
 *
 * @param start - A folder to look upwards from.
 */
export async function nearestModules(start: string): Promise<string | undefined> {
  let outermost: string | undefined
  for (let at = await realpath(start); ; at = dirname(at)) {
    if (basename(at) === 'node_modules') outermost = at
    const modules = join(at, 'node_modules')
    if ((await readdir(join(modules, '.pnpm')).catch(() => [])).length > 50) return modules
    if ((await readdir(modules).catch(() => [])).length > 50) return modules
    if (dirname(at) === at) return outermost
  }
}
