import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRecord, parseStrictJson } from '@keyturn/primitives'
import { nodeFileSystem, writeFileAtomic } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'

/** A bundle that was fetched. */
export interface Build {
  readonly sha256: string
  readonly version: string
  /** Major version of the Node it was made for. */
  readonly node: number
  /** SHA-256 of the manifest it came with; absent in pointers of earlier launchers. */
  readonly manifest?: string | undefined
}

/** `current.json`, which the loader reads. */
export interface Pointer extends Build {
  readonly confirmed: boolean
  readonly tries: number
  /** The confirmed build before this one. */
  readonly previous?: Build | undefined
}

const FILE = 'current.json'

/** Reads which bundle starts next; a pointer that is missing or damaged is `undefined`, as it is for the loader. */
export async function readPointer(folder: string): Promise<Pointer | undefined> {
  try {
    const value = parseStrictJson(await readFile(join(folder, FILE)))
    if (!isRecord(value) || typeof value['sha256'] !== 'string') return undefined
    return value as unknown as Pointer
  } catch {
    return undefined
  }
}

/** Points the next start to a bundle: wholly, or not at all. */
export async function writePointer(folder: string, pointer: Pointer, fs: FileSystem = nodeFileSystem): Promise<void> {
  await writeFileAtomic(join(folder, FILE), Buffer.from(JSON.stringify(pointer)), { fs })
}

/**
 * Says that the bundle which runs works: it served a page, or a command ended well. Where that cannot be written, the
 * next start says it again.
 */
export async function confirmBundle(
  folder: string,
  runningSha256: string | undefined,
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  const current = await readPointer(folder)
  if (current === undefined || current.confirmed || current.sha256 !== runningSha256) return
  await writePointer(folder, { ...current, confirmed: true }, fs).catch(() => undefined)
}

/** The version of the bundle that runs: the pointer's, where it is not the one inside the executable. */
export async function runningVersion(
  folder: string,
  runningSha256: string | undefined,
  embedded: string,
): Promise<string> {
  const current = await readPointer(folder)
  const runs = [current, current?.previous].find((build) => build !== undefined && build.sha256 === runningSha256)
  return runs?.version ?? embedded
}
