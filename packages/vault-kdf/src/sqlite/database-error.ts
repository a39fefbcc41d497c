import { VaultError } from '../errors.ts'

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26

/** Runs database calls and gives their failures a name of this package. */
export function onDatabase<T>(call: () => T): T {
  try {
    return call()
  } catch (cause) {
    if (!(cause instanceof Error) || !('errcode' in cause) || typeof cause.errcode !== 'number') throw cause
    const primary = cause.errcode & 0xff
    const details = { sqlite: cause.errcode }
    if (primary === SQLITE_BUSY || primary === SQLITE_LOCKED) {
      throw new VaultError('VK_STORE_BUSY', "Another process is writing to the vault's database", { cause, details })
    }
    if (primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB) {
      throw new VaultError('VK_STORE_DAMAGED', "The vault's database is damaged", { cause, details })
    }
    throw new VaultError('VK_STORE_IO', "The vault's database could not be read or written", { cause, details })
  }
}
