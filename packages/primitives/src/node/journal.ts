import { createHash, randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { PrimitivesError } from '../errors.ts'
import { isRecord } from '../is-record.ts'
import { parseStrictJson } from '../json.ts'
import type { JsonValue } from '../json.ts'
import { syncFolder, writeFileAtomic } from './atomic-file.ts'
import { onDisk } from './file-error.ts'
import { isMissing, nodeFileSystem } from './file-system.ts'
import type { FileSystem } from './file-system.ts'

/** One file of a {@link Journal.commit}: written (`bytes`) or removed (`remove`). */
export type JournalChange =
  | { readonly path: string; readonly bytes: Uint8Array; readonly mode?: number }
  | { readonly path: string; readonly remove: true }

/** Options of a {@link Journal}. */
export interface JournalOptions {
  /** Folder below the root that holds the staged files and the commit record; default `.journal`. */
  readonly folder?: string | undefined
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
}

interface Step {
  path: string
  stage?: string
  sha256?: string
}

const FORMAT = 'keyturn-journal-1'
const COMMIT_NAME = 'commit.json'

/**
 * Changes several files below one folder, all of them or none. New contents are staged and made durable. Then a commit
 * record is written atomically: from then on the change is committed, and {@link Journal.recover} finishes it after a
 * crash. Only one process may use a journal at a time (see {@link lockFile}). Readers call `recover()` first.
 */
export class Journal {
  readonly #root: string
  readonly #folder: string
  readonly #fs: FileSystem

  /** @param root - Folder that holds the changed files, on one file system. */
  constructor(root: string, options: JournalOptions = {}) {
    this.#root = root
    this.#folder = join(root, options.folder ?? '.journal')
    this.#fs = options.fs ?? nodeFileSystem
  }

  /**
   * Applies `changes`, all or none. Paths are relative to the root and use `/`. Missing folders are created.
   *
   * @throws PrimitivesError `PRIM_LINK`, `PRIM_DISK_FULL`, `PRIM_FILE`, either before the commit (nothing has changed)
   * or after it (`recover()` finishes the change).
   */
  async commit(changes: readonly JournalChange[]): Promise<void> {
    await this.recover()
    const steps: Step[] = []
    await onDisk('Cannot make', this.#folder, () => this.#fs.mkdir(this.#folder, { recursive: true, mode: 0o700 }))
    const names = new Set<string>()
    for (const [index, change] of changes.entries()) {
      checkPath(change.path)
      if (names.has(change.path)) throw new RangeError(`Journal change names "${change.path}" twice`)
      names.add(change.path)
      if ('remove' in change) {
        steps.push({ path: change.path })
        continue
      }
      await this.#refuseLink(change.path)
      const stage = `${index}-${randomBytes(6).toString('hex')}`
      await writeFileAtomic(join(this.#folder, stage), change.bytes, { mode: change.mode ?? 0o644, fs: this.#fs })
      steps.push({ path: change.path, stage, sha256: createHash('sha256').update(change.bytes).digest('hex') })
    }
    const record = new TextEncoder().encode(JSON.stringify({ format: FORMAT, steps }))
    await writeFileAtomic(join(this.#folder, COMMIT_NAME), record, { mode: 0o600, fs: this.#fs })
    await onDisk('Cannot apply the journal of', this.#root, () => this.#apply(steps))
  }

  /**
   * Finishes a committed change, or removes what is left of one that was not committed.
   *
   * @returns Whether a committed change was finished.
   * @throws PrimitivesError `PRIM_JOURNAL` when the commit record or a staged file is damaged. Nothing is changed then.
   */
  async recover(): Promise<boolean> {
    const bytes = await this.#readCommit()
    if (bytes !== undefined) {
      const steps = parseRecord(bytes)
      await onDisk('Cannot apply the journal of', this.#root, () => this.#apply(steps))
      return true
    }
    await this.#fs.rm(this.#folder, { recursive: true, force: true })
    return false
  }

  /**
   * Renaming a staged file onto a link would replace the link, and a rename cannot reach the file on another disk that
   * it leads to.
   */
  async #refuseLink(path: string): Promise<void> {
    const found = await this.#fs.lstat(join(this.#root, path)).catch(() => undefined) // reported when it is replaced
    if (found?.isSymbolicLink() !== true) return
    throw new PrimitivesError('PRIM_LINK', `Cannot change "${path}": it is a symbolic link`, {
      hint: 'Put the file itself in the folder',
    })
  }

  async #readCommit(): Promise<Uint8Array | undefined> {
    try {
      return await this.#fs.readFile(join(this.#folder, COMMIT_NAME))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #apply(steps: readonly Step[]): Promise<void> {
    const staged = await this.#check(steps)
    const folders = new Set<string>()
    for (const step of steps) {
      const target = join(this.#root, step.path)
      if (step.stage === undefined) await this.#fs.rm(target, { force: true })
      else if (staged.has(step.stage)) {
        await this.#makeFolder(dirname(target))
        await this.#fs.rename(join(this.#folder, step.stage), target)
      }
      folders.add(dirname(target))
    }
    for (const folder of folders) if (await this.#isFolder(folder)) await syncFolder(folder, this.#fs)
    await this.#fs.rm(join(this.#folder, COMMIT_NAME), { force: true })
    await syncFolder(this.#folder, this.#fs)
    await this.#fs.rm(this.#folder, { recursive: true, force: true })
  }

  /**
   * The staged files that are still to be renamed. Every other one must already be at its target. Checked before the
   * first rename.
   */
  async #check(steps: readonly Step[]): Promise<Set<string>> {
    const staged = new Set<string>()
    for (const step of steps) {
      if (step.stage === undefined) continue
      const found = await this.#digest(join(this.#folder, step.stage))
      if (found === step.sha256) staged.add(step.stage)
      else if (found !== undefined || (await this.#digest(join(this.#root, step.path))) !== step.sha256) {
        throw new PrimitivesError(
          'PRIM_JOURNAL',
          `Cannot finish the journal: the new content of "${step.path}" is missing or changed`,
          {
            hint: 'Restore the folder from a backup; the journal is unchanged',
          },
        )
      }
    }
    return staged
  }

  async #digest(path: string): Promise<string | undefined> {
    try {
      return createHash('sha256')
        .update(await this.#fs.readFile(path))
        .digest('hex')
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /** `mkdir -p` whose every new name is durable. */
  async #makeFolder(path: string): Promise<void> {
    const first = await this.#fs.mkdir(path, { recursive: true })
    if (first === undefined) return
    for (let folder = path; folder.length >= first.length; folder = dirname(folder))
      await syncFolder(dirname(folder), this.#fs)
  }

  async #isFolder(path: string): Promise<boolean> {
    try {
      return (await this.#fs.stat(path)).isDirectory()
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }
}

function checkPath(path: string): void {
  const parts = path.split('/')
  if (
    path.includes('\\') ||
    path.includes('\0') ||
    parts.some((part) => part === '' || part === '.' || part === '..')
  ) {
    throw new RangeError(`Journal path "${path}" is not a plain relative path`)
  }
}

function parseRecord(bytes: Uint8Array): Step[] {
  try {
    const record = parseStrictJson(bytes)
    if (!isRecord(record) || record['format'] !== FORMAT || !Array.isArray(record['steps']))
      throw new Error('Unknown shape')
    return record['steps'].map(parseStep)
  } catch (cause) {
    throw new PrimitivesError('PRIM_JOURNAL', 'Cannot read the journal: its commit record is damaged', { cause })
  }
}

function parseStep(value: JsonValue): Step {
  if (!isRecord(value) || typeof value['path'] !== 'string') throw new Error('Step without a path')
  checkPath(value['path'])
  const { path, stage, sha256 } = value
  if (stage === undefined) return { path }
  if (typeof stage !== 'string' || typeof sha256 !== 'string' || !/^\d+-[0-9a-f]{12}$/.test(stage))
    throw new Error('Step without a stage')
  return { path, stage, sha256 }
}
