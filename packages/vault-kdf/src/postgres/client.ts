import { VaultError } from '../errors.ts'
import type { Row } from '../database-row.ts'

/** What is used of a connection: `Client` and `PoolClient` of the package `pg` have it. */
export interface PgClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly Row[]; readonly rowCount: number | null }>
}

/** What is used of a pool of connections: `Pool` of the package `pg` has it. */
export interface PgPool extends PgClient {
  connect(): Promise<PgClient & { release(error?: Error | boolean): void }>
}

const SERIALIZATION_FAILURE = '40001'
const DEADLOCK = '40P01'
const LOCK_NOT_AVAILABLE = '55P03'
const UNDEFINED_TABLE = '42P01'

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Whether the same transaction may succeed when it is tried again. */
export function isPassing(error: unknown): boolean {
  return [SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE].includes(codeOf(error) ?? '')
}

/** Gives a failure of the database a name of this package; what is of this package already stays as it is. */
export function databaseError(cause: unknown): unknown {
  if (cause instanceof VaultError) return cause
  const code = codeOf(cause)
  const details = code === undefined ? {} : { postgres: code }
  if (isPassing(cause))
    return new VaultError('VK_STORE_BUSY', "Other transactions are writing to the vault's tables", { cause, details })
  const what =
    code === UNDEFINED_TABLE ? "The vault's tables are missing" : "The vault's database could not be read or written"
  return new VaultError('VK_STORE_IO', what, { cause, details })
}

/** Runs calls to the database and gives their failures a name of this package. */
export async function onDatabase<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw databaseError(error)
  }
}
