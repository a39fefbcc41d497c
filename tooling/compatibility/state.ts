import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'

/** What a state's `notes.json` says. */
export interface StateNotes {
  /** The time at which it was recorded, in milliseconds since 1970. */
  readonly madeAtMs: number
  readonly product: string
  /** What the launchers of its installs trust. */
  readonly trust: string
}

/** One file of a state. */
export interface StateFile {
  readonly path: string
  readonly size: number
  readonly sha256: string
}

const LISTING = 'listing.tsv'
/** The golden files of every package as they were when the version was released, by path from the root. */
const GOLDEN = 'golden.tsv'
const root = join(import.meta.dirname, '../..')

/** Every file of a state as it is now, by path. */
export async function listState(folder: string): Promise<StateFile[]> {
  const files = await listFolder(folder, folder)
  return files.filter(({ path }) => path !== LISTING && path !== GOLDEN)
}

/** Every golden file of packages and apps as it is now, by path. */
export async function listGolden(): Promise<StateFile[]> {
  const folders = (
    await Promise.all(
      ['packages', 'apps'].map(async (group) => {
        const names = await readdir(join(root, group))
        return names.map((name) => join(root, group, name, 'test/golden')).filter((folder) => existsSync(folder))
      }),
    )
  ).flat()
  const files = (await Promise.all(folders.map((folder) => listFolder(folder, root)))).flat()
  return files.filter(({ path }) => !/\.(?:ts|md)$/.test(path)).sort(byPath)
}

/** Records what a state and the golden files contain. */
export async function writeListings(folder: string): Promise<void> {
  await writeFile(join(folder, LISTING), listingText(await listState(folder)))
  await writeFile(join(folder, GOLDEN), listingText(await listGolden()))
}

/** What a state contained when it was recorded. */
export async function readListing(folder: string): Promise<StateFile[]> {
  return await readLines(join(folder, LISTING))
}

/** What the golden files contained when a state was recorded. */
export async function readGoldenListing(folder: string): Promise<StateFile[]> {
  return await readLines(join(folder, GOLDEN))
}

const byPath = (a: StateFile, b: StateFile): number => (a.path < b.path ? -1 : 1)

async function listFolder(folder: string, from: string): Promise<StateFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const file = join(entry.parentPath, entry.name)
        const bytes = await readFile(file)
        return {
          path: relative(from, file),
          size: bytes.length,
          sha256: createHash('sha256').update(bytes).digest('hex'),
        }
      }),
  )
  return files.sort(byPath)
}

function listingText(files: readonly StateFile[]): string {
  return files.map(({ path, size, sha256 }) => `${sha256}\t${size}\t${path}\n`).join('')
}

async function readLines(file: string): Promise<StateFile[]> {
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
  return lines.map((line) => {
    const [sha256 = '', size = '', path = ''] = line.split('\t')
    return { path, size: Number(size), sha256 }
  })
}
