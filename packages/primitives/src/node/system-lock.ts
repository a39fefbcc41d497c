import type * as Sqlite from 'node:sqlite'

/**
 * An exclusive lock that the operating system holds for this process and gives back when the process ends, however it
 * ends. Node offers no `flock`, but its SQLite takes the lock of each system: `fcntl` on POSIX, `LockFileEx` on
 * Windows (docs/decisions/0008-operating-system-locks.md). The file stays empty: nothing is ever written.
 */
export interface SystemLock {
  release(): void
}

/**
 * What came of an attempt: the lock; `held` by a process that lives; `not-held` where this user may only read the
 * file, and the attempt showed that nobody holds it; `unsupported` where the runtime or the file system has no locks.
 */
export type SystemLockAttempt = SystemLock | 'held' | 'not-held' | 'unsupported'

/** Takes the lock of a file, which is created if it is missing, without waiting. */
export type TakeSystemLock = (path: string) => Promise<SystemLockAttempt>

interface Connection {
  exec(sql: string): unknown
  close(): void
}
type Connect = (path: string) => Connection

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_READONLY = 8

let loading: Promise<Connect | undefined> | undefined

/** {@link TakeSystemLock} with the SQLite of the runtime. */
export async function takeSystemLock(path: string): Promise<SystemLockAttempt> {
  loading ??= loadSqlite()
  const connect = await loading
  if (connect === undefined) return 'unsupported'
  let connection: Connection | undefined
  try {
    connection = connect(path)
    // Else the empty database makes a journal file beside it, which a killed holder leaves behind.
    connection.exec('PRAGMA journal_mode = MEMORY')
    connection.exec('BEGIN EXCLUSIVE')
    const held = connection
    connection = undefined // the caller closes it
    return { release: () => held.close() }
  } catch (error) {
    const code = sqliteCode(error)
    if (code === SQLITE_READONLY) return readOnlyAttempt(connection)
    return isHeld(code) ? 'held' : 'unsupported'
  } finally {
    connection?.close()
  }
}

/** A file of another user that can only be read takes a shared lock, which a living holder refuses as well. */
function readOnlyAttempt(connection: Connection | undefined): SystemLockAttempt {
  try {
    connection?.exec('SELECT count(*) FROM sqlite_schema')
    return 'not-held'
  } catch (error) {
    return isHeld(sqliteCode(error)) ? 'held' : 'unsupported'
  }
}

function isHeld(code: number | undefined): boolean {
  return code === SQLITE_BUSY || code === SQLITE_LOCKED
}

/** The primary result code: `errcode` in Node, `errno` in Bun, the message alone elsewhere. */
function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined
  const { errcode, errno } = error as { errcode?: unknown; errno?: unknown }
  const code = typeof errcode === 'number' ? errcode : errno
  if (typeof code === 'number') return code & 0xff
  return /database is locked/.test(error.message) ? SQLITE_BUSY : undefined
}

async function loadSqlite(): Promise<Connect | undefined> {
  return nodeSqlite() ?? (await bunSqlite())
}

function nodeSqlite(): Connect | undefined {
  const emitWarning = process.emitWarning
  try {
    // Node 22 warns of an experimental module on every start; what is used here has been stable for twenty years.
    process.emitWarning = () => undefined
    const sqlite = process.getBuiltinModule('node:sqlite') as typeof Sqlite | undefined
    return sqlite && ((path) => new sqlite.DatabaseSync(path))
  } catch {
    return undefined // Node before 22.13 knows it only by a flag
  } finally {
    process.emitWarning = emitWarning
  }
}

async function bunSqlite(): Promise<Connect | undefined> {
  if (!('bun' in process.versions)) return undefined
  const name = 'bun:sqlite' // not a literal in the import, so that bundlers for other runtimes leave it alone
  const { Database } = (await import(name)) as { Database: new (path: string) => Connection }
  return (path) => new Database(path)
}
