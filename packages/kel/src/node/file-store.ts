import { concatBytes } from '@keyturn/primitives'
import {
  lockFile,
  nodeFileSystem,
  pathExists,
  resolveLink,
  syncFolder,
  isMissing,
  writeAll,
  writeFileAtomic,
} from '@keyturn/primitives/node'
import type { FileSystem, Lock } from '@keyturn/primitives/node'
import { dirname, join } from 'node:path'
import { KelError } from '../errors.ts'
import { wholeLength } from '../replay.ts'
import type { DuplicityRecord, KelStore, LogRecord, LogStorage, StoredLog } from '../storage.ts'

/** Options of the file stores. */
export interface FileStoreOptions {
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
  /** How long to wait for another writer, milliseconds. Default 5,000. */
  readonly lockWaitMs?: number | undefined
}

class FileLog implements LogStorage {
  readonly #path: string
  readonly #fs: FileSystem
  readonly #lockWaitMs: number

  constructor(path: string, { fs = nodeFileSystem, lockWaitMs = 5000 }: FileStoreOptions) {
    this.#path = path
    this.#fs = fs
    this.#lockWaitMs = lockWaitMs
  }

  async read(): Promise<StoredLog | undefined> {
    const stream = await this.#bytes()
    return stream === undefined || stream.length === 0 ? undefined : { stream, version: String(wholeLength(stream)) }
  }

  async #bytes(): Promise<Uint8Array | undefined> {
    try {
      return new Uint8Array(await this.#fs.readFile(this.#path))
    } catch (cause) {
      if (isMissing(cause)) return undefined
      throw failed('read', this.#path, cause)
    }
  }

  async append(record: LogRecord, expected: string | undefined): Promise<string> {
    const lock = await this.#lock()
    try {
      const current = await this.read()
      if (current?.version !== expected) {
        throw new KelError(
          'KEL_CONFLICT',
          `Log changed: it has ${current?.version ?? 0} bytes, expected ${expected ?? 0}`,
        )
      }
      return await this.#append(record.message, current)
    } finally {
      await lock.release().catch((cause: unknown) => {
        throw failed('unlock', this.#path, cause)
      })
    }
  }

  async #lock(): Promise<Lock> {
    try {
      await this.#fs.mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
      // Beside the file itself, so that a writer who comes by a link and one who does not exclude each other.
      const place = await resolveLink(this.#path, this.#fs)
      return await lockFile(`${place}.lock`, { waitMs: this.#lockWaitMs, fs: this.#fs })
    } catch (cause) {
      const busy = cause instanceof Error && 'kind' in cause && cause.kind === 'busy'
      if (busy) throw new KelError('KEL_LOCK', 'Another process writes this log', { cause })
      throw failed('lock', this.#path, cause)
    }
  }

  /** Appends after the last whole message; a torn tail is cut off. A failed write is undone. */
  async #append(message: Uint8Array, current: StoredLog | undefined): Promise<string> {
    try {
      if (current === undefined) {
        await writeFileAtomic(this.#path, message, { fs: this.#fs })
        return String(message.length)
      }
      const length = Number(current.version)
      const handle = await this.#fs.open(this.#path, 'r+')
      try {
        if (current.stream.length > length) await handle.truncate(length)
        await writeAll(handle, message, length)
        await handle.sync()
      } catch (error) {
        // The error that matters is the first one; a tail that stays is cut by the next reader.
        await handle.truncate(length).catch(() => undefined)
        throw error
      } finally {
        await handle.close()
      }
      return String(length + message.length)
    } catch (cause) {
      throw failed('write', this.#path, cause)
    }
  }

  get #duplicityFolder(): string {
    return `${this.#path}.duplicity`
  }

  async keepDuplicity({ said, message, againstMessage }: DuplicityRecord): Promise<void> {
    try {
      await this.#fs.mkdir(this.#duplicityFolder, { recursive: true, mode: 0o700 })
      await writeFileAtomic(join(this.#duplicityFolder, `${said}.cesr`), concatBytes(againstMessage, message), {
        fs: this.#fs,
      })
      await syncFolder(dirname(this.#path), this.#fs)
    } catch (cause) {
      throw failed('write', this.#duplicityFolder, cause)
    }
  }

  async duplicities(): Promise<readonly Uint8Array[]> {
    if (!(await pathExists(this.#duplicityFolder, this.#fs))) return []
    const names = (await this.#fs.readdir(this.#duplicityFolder)).filter((name) => name.endsWith('.cesr')).sort()
    return await Promise.all(
      names.map(async (name) => new Uint8Array(await this.#fs.readFile(join(this.#duplicityFolder, name)))),
    )
  }
}

function failed(what: string, path: string, cause: unknown): unknown {
  if (cause instanceof KelError) return cause
  const reason = cause instanceof Error ? cause.message : 'unknown reason'
  return new KelError('KEL_IO', `Cannot ${what} log "${path}": ${reason}`, { details: { path }, cause })
}

/**
 * The log of one identity in one append-only file: the plain CESR stream that other tools read. Proofs of duplicity are
 * beside it, in `<path>.duplicity/`.
 *
 * @param path - For instance `identity.cesr`; its folder is made when needed.
 */
export function fileLog(path: string, options: FileStoreOptions = {}): LogStorage {
  return new FileLog(path, options)
}

const logName = /^([A-Za-z0-9_-]{44})\.cesr$/

/**
 * Logs of any number of identities in one folder, `<prefix>.cesr` each. Prefixes that differ in case only need a file
 * system that tells them apart.
 */
export function fileStore(folder: string, options: FileStoreOptions = {}): KelStore {
  const { fs = nodeFileSystem } = options
  return {
    async list() {
      if (!(await pathExists(folder, fs))) return []
      return (await fs.readdir(folder)).flatMap((name) => logName.exec(name)?.[1] ?? []).sort()
    },
    log(prefix) {
      if (!logName.test(`${prefix}.cesr`)) throw new TypeError('A prefix has 44 characters of Base64url')
      return new FileLog(join(folder, `${prefix}.cesr`), options)
    },
  }
}
