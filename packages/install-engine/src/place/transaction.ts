import { createHash } from 'node:crypto'
import { parseStrictJson, utf8Decode } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { readSmallFile, writeSmallFile } from '../disk/disk.ts'
import { hostSystem } from '../disk/host-system.ts'
import type { Layout } from '../disk/layout.ts'
import { parseReleaseRef } from '../disk/state-file.ts'
import type { ReleaseRef } from '../disk/state-file.ts'

/** One file of a transaction. */
export interface TransactionStep {
  /** Its place below the install. */
  readonly path: string
  /** Whether something was there before; it goes to `backup/<id>/<n>`, `n` being the step's place in the list. */
  readonly existed: boolean
  /** SHA-256 afterwards; `undefined` removes the file. */
  readonly sha256: string | undefined
  /** Where the new bytes wait, below `.updates`. */
  readonly staged: string | undefined
}

/** `txn.json`: once it is on disk, the change is decided. */
export interface Transaction {
  readonly id: string
  readonly kind: 'update' | 'repair' | 'rollback'
  readonly from: ReleaseRef | undefined
  readonly to: ReleaseRef
  /** One of several of a low-space update: when it is done, the release is not there yet. */
  readonly isPart?: boolean | undefined
  readonly steps: readonly TransactionStep[]
}

/** Where staged bytes of an update and kept bytes of a release to go back to can lie, below `.updates`. */
const stagedPlace =
  /^(?:staging\/[0-9a-f]{64}(?:\.copy[1-9][0-9]{0,5})?|backup\/[0-9a-f]{16,64}\/(?:0|[1-9][0-9]{0,8}))$/

const maxTransactionBytes = 128 * 1024 * 1024

/** Writes the transaction: the point of no return. */
export async function writeTransaction(fs: FileSystem, path: string, transaction: Transaction): Promise<void> {
  const body = JSON.stringify(transaction)
  const sha256 = createHash('sha256').update(body).digest('hex')
  await writeSmallFile(fs, path, new TextEncoder().encode(`{"schema":1,"sha256":"${sha256}","body":${body}}\n`))
}

function parseStep(value: unknown): TransactionStep | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { path, existed, sha256, staged } = value as Record<string, unknown>
  if (typeof path !== 'string' || !hostSystem.isInside(path) || typeof existed !== 'boolean') return undefined
  if (sha256 === undefined && staged === undefined) return { path, existed, sha256, staged }
  // A folder may have come from somebody else, journal and all: it moves nothing into or out of another place.
  if (typeof sha256 !== 'string' || typeof staged !== 'string' || !stagedPlace.test(staged)) return undefined
  return { path, existed, sha256, staged }
}

function parseTransaction(bytes: Uint8Array): Transaction | undefined {
  const text = utf8Decode(bytes)
  const match = /^\{"schema":1,"sha256":"([0-9a-f]{64})","body":(.*)\}\n$/s.exec(text)
  if (match === null) return undefined
  const [, sha256, body = ''] = match
  if (createHash('sha256').update(body).digest('hex') !== sha256) return undefined
  const value: unknown = parseStrictJson(new TextEncoder().encode(body), { maxBytes: maxTransactionBytes })
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { id, kind, from, to, isPart, steps } = value as Record<string, unknown>
  const target = parseReleaseRef(to)
  if (typeof id !== 'string' || !/^[0-9a-f]{16,64}$/.test(id) || target === undefined || !Array.isArray(steps))
    return undefined
  if (kind !== 'update' && kind !== 'repair' && kind !== 'rollback') return undefined
  const parsed = steps.map(parseStep)
  if (parsed.includes(undefined)) return undefined
  return {
    id,
    kind,
    from: parseReleaseRef(from),
    to: target,
    isPart: isPart === true,
    steps: parsed as TransactionStep[],
  }
}

/**
 * Reads the transaction that a crash left behind.
 *
 * @throws LauncherError `LA_JOURNAL` when it is empty, cut, changed or from a newer version.
 */
export async function readTransaction(fs: FileSystem, path: string): Promise<Transaction | undefined> {
  const bytes = await readSmallFile(fs, path, maxTransactionBytes)
  if (bytes === undefined) return undefined
  let transaction: Transaction | undefined
  try {
    transaction = parseTransaction(bytes)
  } catch (cause) {
    throw new LauncherError('LA_JOURNAL', `Cannot read "${path}": it is damaged`, { cause })
  }
  if (transaction === undefined)
    throw new LauncherError('LA_JOURNAL', `Cannot read "${path}": it is damaged or from a newer launcher`)
  return transaction
}

/** Where a step's old bytes are kept, below `.updates`. */
export function backupPlace(layout: Layout, transaction: Transaction, step: number): string {
  return `${layout.backup}/${transaction.id}/${step}`
}
