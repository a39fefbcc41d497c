import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'

/** What a name leads to. */
type Entry = { readonly kind: 'folder' } | { readonly kind: 'file'; readonly id: number; readonly mode: number }

/** A change of names that no power cut may undo once it is durable; folders are synced one by one. */
interface NameChange {
  readonly folders: ReadonlySet<string>
  readonly apply: (names: Map<string, Entry>) => void
}

/** The bytes of one file: what was synced, and whether more was written since. */
interface Content {
  synced: Buffer
  isDirty: boolean
  last: Buffer
}

function below(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder + sep)
}

/**
 * A real folder, and beside it what of it a disk without power would still hold. Bytes are there once their file was
 * synced; a name is there, or gone, once its folder was synced. Stricter than any journalling file system: syncing a
 * file does not keep its name, and changes in two folders become durable in any order.
 */
export class PowerCut {
  /** To be used instead of the real disk; after {@link cut} every call fails. */
  readonly fs: FileSystem
  readonly #root: string
  readonly #durable = new Map<string, Entry>()
  readonly #live = new Map<string, Entry>()
  readonly #contents = new Map<number, Content>()
  #pending: NameChange[] = []
  #nextId = 1
  #calls = 0
  readonly #cutAt: number
  #isDead = false

  /** @param cutAt - The call, of those that change something, before which the power goes. */
  constructor(root: string, cutAt = Number.POSITIVE_INFINITY) {
    this.#root = resolve(root)
    this.#cutAt = cutAt
    this.#load(this.#root)
    this.fs = this.#wrap()
  }

  /** Whether the power went. */
  get isDead(): boolean {
    return this.#isDead
  }

  /** Changing calls so far. */
  get calls(): number {
    return this.#calls
  }

  #load(folder: string): void {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) {
        this.#durable.set(path, { kind: 'folder' })
        this.#live.set(path, { kind: 'folder' })
        this.#load(path)
      } else if (entry.isFile()) {
        const bytes = readFileSync(path)
        const file: Entry = { kind: 'file', id: this.#newFile(bytes), mode: lstatSync(path).mode & 0o777 }
        this.#durable.set(path, file)
        this.#live.set(path, file)
      }
    }
  }

  #newFile(bytes: Buffer): number {
    const id = this.#nextId++
    this.#contents.set(id, { synced: bytes, isDirty: false, last: bytes })
    return id
  }

  #step(): void {
    if (this.#isDead || this.#calls++ >= this.#cutAt) {
      this.#isDead = true
      throw Object.assign(new Error('ECRASH: no power'), { code: 'ECRASH' })
    }
  }

  #change(folders: readonly string[], apply: NameChange['apply']): void {
    apply(this.#live)
    this.#pending.push({ folders: new Set(folders), apply })
  }

  /** A synced folder keeps its changes, and with a move what the move depends on in the other folder. */
  #syncFolder(folder: string): void {
    const wanted = new Set([folder])
    const kept = new Set<NameChange>()
    for (const change of this.#pending.toReversed()) {
      if (![...change.folders].some((name) => wanted.has(name))) continue
      kept.add(change)
      for (const name of change.folders) wanted.add(name)
    }
    for (const change of this.#pending) if (kept.has(change)) change.apply(this.#durable)
    this.#pending = this.#pending.filter((change) => !kept.has(change))
  }

  #syncFile(path: string, id: number | undefined): void {
    const content = id === undefined ? undefined : this.#contents.get(id)
    if (content === undefined) return
    content.synced = this.#read(path, content)
    content.isDirty = false
  }

  #read(path: string, content: Content): Buffer {
    try {
      content.last = readFileSync(path)
    } catch {
      // it was moved since it was opened: what was seen of it last counts
    }
    return content.last
  }

  #touch(path: string): void {
    const entry = this.#live.get(path)
    const content = entry?.kind === 'file' ? this.#contents.get(entry.id) : undefined
    if (content === undefined) return
    content.isDirty = true
    this.#read(path, content)
  }

  #remove(path: string): void {
    if (!this.#live.has(path)) return
    this.#change([dirname(path)], (names) => {
      for (const name of names.keys()) if (below(name, path)) names.delete(name)
    })
  }

  #move(from: string, to: string): void {
    this.#change([dirname(from), dirname(to)], (names) => {
      for (const name of names.keys()) if (below(name, to)) names.delete(name)
      for (const [name, entry] of names) {
        if (!below(name, from)) continue
        names.delete(name)
        names.set(to + name.slice(from.length), entry)
      }
    })
  }

  #makeFolder(path: string): void {
    for (
      let folder = path;
      below(folder, this.#root) && folder !== this.#root && !this.#live.has(folder);
      folder = dirname(folder)
    ) {
      const made = folder
      this.#change([dirname(made)], (names) => names.set(made, { kind: 'folder' }))
    }
  }

  #makeFile(path: string): void {
    if (this.#live.has(path)) return this.#touch(path)
    const entry: Entry = { kind: 'file', id: this.#newFile(Buffer.alloc(0)), mode: 0o644 }
    this.#change([dirname(path)], (names) => names.set(path, entry))
    this.#touch(path)
  }

  #wrap(): FileSystem {
    const at = (path: unknown): string => resolve(String(path))
    const changing =
      <Args extends unknown[], Result>(real: (...args: Args) => Promise<Result>, note: (...args: Args) => void) =>
      async (...args: Args): Promise<Result> => {
        this.#step()
        const result = await real(...args)
        note(...args)
        return result
      }
    const { chmod, copyFile, mkdir: makeFolder, open, rename, rm, rmdir, unlink, utimes } = nodeFileSystem
    return {
      ...nodeFileSystem,
      chmod: changing(chmod, () => undefined),
      utimes: changing(utimes, () => undefined),
      copyFile: changing(copyFile, (_from, to) => this.#makeFile(at(to))),
      mkdir: changing(makeFolder as (path: string) => Promise<undefined>, (path) =>
        this.#makeFolder(at(path)),
      ) as FileSystem['mkdir'],
      rename: changing(rename, (from, to) => this.#move(at(from), at(to))),
      rm: changing(rm, (path) => this.#remove(at(path))),
      rmdir: changing(rmdir, (path) => this.#remove(at(path))),
      unlink: changing(unlink, (path) => this.#remove(at(path))),
      link: async () => await Promise.reject(Object.assign(new Error('EPERM'), { code: 'EPERM' })),
      open: async (path, flags, mode) => {
        if (this.#isDead) this.#step()
        const creates = typeof flags === 'string' && /[wax]/.test(flags)
        if (creates) this.#step()
        const handle = await open(path, flags, mode)
        if (creates) this.#makeFile(at(path))
        return this.#wrapHandle(handle, at(path))
      },
    }
  }

  #wrapHandle(handle: FileHandle, opened: string): FileHandle {
    const entry = this.#live.get(opened)
    const id = entry?.kind === 'file' ? entry.id : undefined
    /** Where the open file lies now. */
    const place = (): string =>
      [...this.#live].find(([, other]) => other.kind === 'file' && other.id === id)?.[0] ?? opened
    return new Proxy(handle, {
      get: (target, key) => {
        const real: unknown = Reflect.get(target, key)
        if (typeof real !== 'function') return real
        const name = String(key)
        const isChange = /^(write|writev|writeFile|appendFile|truncate|sync|datasync|chmod)$/.test(name)
        return async (...args: unknown[]) => {
          if (isChange) this.#step()
          else if (this.#isDead && name !== 'close') this.#step()
          const result: unknown = await Reflect.apply(real, target, args)
          if (/^(write|append|truncate)/.test(name)) this.#touch(place())
          if (name === 'sync' || name === 'datasync') {
            if (id === undefined) this.#syncFolder(opened)
            else this.#syncFile(place(), id)
          }
          return result
        }
      },
    })
  }

  /**
   * Lays out what the disk holds after the cut. Of what was never synced `chance` decides: names are kept up to a
   * point in their order, bytes are kept, lost, or cut at a 512-byte mark with zeros behind it.
   *
   * @param chance - A number from 0 to 1, another one each time; default: all that was not synced is lost.
   */
  async cut(folder: string, chance: () => number = () => 0): Promise<void> {
    this.#isDead = true
    const names = new Map(this.#durable)
    const survivors = Math.floor(chance() * (this.#pending.length + 1))
    for (const change of this.#pending.slice(0, survivors)) change.apply(names)
    await mkdir(folder, { recursive: true })
    for (const path of [...names.keys()].sort()) {
      if (!this.#isReachable(names, path)) continue
      const target = join(folder, relative(this.#root, path))
      const entry = names.get(path) as Entry
      if (entry.kind === 'folder')
        await mkdir(target, { recursive: true, mode: path.includes('.updates') ? 0o700 : 0o755 })
      else await writeFile(target, this.#survivingBytes(entry.id, chance), { mode: entry.mode })
    }
  }

  #isReachable(names: ReadonlyMap<string, Entry>, path: string): boolean {
    for (let folder = dirname(path); folder !== this.#root; folder = dirname(folder))
      if (names.get(folder)?.kind !== 'folder') return false
    return true
  }

  #survivingBytes(id: number, chance: () => number): Buffer {
    const content = this.#contents.get(id) as Content
    if (!content.isDirty) return content.synced
    const luck = chance()
    if (luck < 0.34) return content.synced
    if (luck > 0.67) return content.last
    const cut = Math.floor((chance() * content.last.length) / 512) * 512
    return Buffer.concat([content.last.subarray(0, cut), Buffer.alloc(content.last.length - cut)])
  }
}
