import { createHash } from 'node:crypto'
import { foldPath } from '@keyturn/manifest'
import { parseStrictJson, utf8Decode } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { readSmallFile, writeSmallFile } from '../disk/disk.ts'
import type { EngineEventBody } from '../events.ts'
import { hostSystem } from '../disk/host-system.ts'
import type { Layout } from '../disk/layout.ts'
import { parseReleaseRef } from '../disk/state-file.ts'
import type { ReleaseRef } from '../disk/state-file.ts'

/** One file of a transaction that comes or goes. */
export interface TransactionStep {
  /** Its place below the install. */
  readonly path: string
  /** Whether something was there before; it goes to `backup/<id>/<n>`, `n` being the step's place in the list. */
  readonly existed: boolean
  /** SHA-256 afterwards; `undefined` removes the file. */
  readonly sha256: string | undefined
  /** Of a removal: SHA-256 of what is removed. After a crash, a file with other bytes is the player's, and stays. */
  readonly was?: string | undefined
  /** Where the new bytes wait, below `.updates`. */
  readonly staged: string | undefined
}

/** The step that removes a file; `leaving` has the hashes of those that must not have changed. */
export function removalStep(path: string, leaving: ReadonlyMap<string, string>): TransactionStep {
  return { path, existed: true, sha256: undefined, staged: undefined, was: leaving.get(path) }
}

/** Something of the player's that is in the way and gets another name, both below the install. */
export interface AsideStep {
  readonly path: string
  readonly to: string
}

/** A file whose bytes stay and whose permissions change. */
export interface ModeStep {
  readonly path: string
  readonly mode: number
  readonly oldMode: number
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
  readonly asides?: readonly AsideStep[] | undefined
  readonly modes?: readonly ModeStep[] | undefined
}

/** Where staged bytes of an update and kept bytes of a release to go back to can be, below `.updates`. */
const STAGED_PLACE =
  /^(?:staging\/[0-9a-f]{64}(?:\.copy[1-9][0-9]{0,5})?|backup\/[0-9a-f]{16,64}\/(?:0|[1-9][0-9]{0,8}))$/

const MAX_TRANSACTION_BYTES = 128 * 1024 * 1024

/**
 * A launcher that does not know asides and modes would leave them out in silence, so such a journal has another number.
 */
function schemaOf({ asides = [], modes = [] }: Transaction): 1 | 2 {
  return asides.length + modes.length === 0 ? 1 : 2
}

/** Writes the transaction: the point of no return. */
export async function writeTransaction(fs: FileSystem, path: string, transaction: Transaction): Promise<void> {
  const body = JSON.stringify(transaction)
  const sha256 = createHash('sha256').update(body).digest('hex')
  const text = `{"schema":${schemaOf(transaction)},"sha256":"${sha256}","body":${body}}\n`
  await writeSmallFile(fs, path, new TextEncoder().encode(text))
}

function recordOf(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}

function isPlace(value: unknown): value is string {
  return typeof value === 'string' && hostSystem.isInside(value)
}

function isMode(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= 0o777
}

function parseStep(value: unknown): TransactionStep | undefined {
  const { path, existed, sha256, staged, was } = recordOf(value) ?? {}
  if (!isPlace(path) || typeof existed !== 'boolean') return undefined
  if (was !== undefined && typeof was !== 'string') return undefined
  if (sha256 === undefined && staged === undefined) return { path, existed, sha256, staged, was }
  // A folder may have come from somebody else, journal and all: it moves nothing into or out of another place.
  if (typeof sha256 !== 'string' || typeof staged !== 'string' || !STAGED_PLACE.test(staged)) return undefined
  return { path, existed, sha256, staged }
}

function parseAside(value: unknown): AsideStep | undefined {
  const { path, to } = recordOf(value) ?? {}
  return isPlace(path) && isPlace(to) ? { path, to } : undefined
}

/** Reads a mode step back; `undefined` for anything else. */
export function parseMode(value: unknown): ModeStep | undefined {
  const { path, mode, oldMode } = recordOf(value) ?? {}
  return isPlace(path) && isMode(mode) && isMode(oldMode) ? { path, mode, oldMode } : undefined
}

/** A list of which every member is well-formed; `undefined` for anything else. */
export function parseEach<T>(value: unknown, parse: (entry: unknown) => T | undefined): T[] | undefined {
  if (!Array.isArray(value)) return undefined
  const parsed = value.map(parse)
  return parsed.includes(undefined) ? undefined : (parsed as T[])
}

function parseTransaction(bytes: Uint8Array): Transaction | undefined {
  const match = /^\{"schema":[12],"sha256":"([0-9a-f]{64})","body":(.*)\}\n$/s.exec(utf8Decode(bytes))
  if (match === null) return undefined
  const [, sha256, body = ''] = match
  if (createHash('sha256').update(body).digest('hex') !== sha256) return undefined
  const record = recordOf(parseStrictJson(new TextEncoder().encode(body), { maxBytes: MAX_TRANSACTION_BYTES }))
  const { id, kind, from, to, isPart } = record ?? {}
  const target = parseReleaseRef(to)
  if (typeof id !== 'string' || !/^[0-9a-f]{16,64}$/.test(id) || target === undefined) return undefined
  if (kind !== 'update' && kind !== 'repair' && kind !== 'rollback') return undefined
  const steps = parseEach(record?.['steps'], parseStep)
  const asides = parseEach(record?.['asides'] ?? [], parseAside)
  const modes = parseEach(record?.['modes'] ?? [], parseMode)
  if (steps === undefined || asides === undefined || modes === undefined) return undefined
  return { id, kind, from: parseReleaseRef(from), to: target, isPart: isPart === true, steps, asides, modes }
}

/**
 * Reads the transaction that a crash left behind.
 *
 * @throws LauncherError `LA_JOURNAL` when it is empty, cut, changed or from a newer version.
 */
export async function readTransaction(fs: FileSystem, path: string): Promise<Transaction | undefined> {
  const bytes = await readSmallFile(fs, path, MAX_TRANSACTION_BYTES)
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

/** How the steps of a transaction depend on one another. */
export interface StepOrder {
  /** Indexes of the steps that remove, then of those that write. */
  readonly removals: readonly number[]
  readonly writes: readonly number[]
  /** By the index of a removal, the write that puts a file in the very same place on a file system that folds names. */
  readonly successor: ReadonlyMap<number, number>
  /** Writes that are such a successor. */
  readonly successors: ReadonlySet<number>
}

/** What leaves goes before what arrives: the place of the one may be the place, or a folder, of the other. */
export function orderSteps(steps: readonly TransactionStep[]): StepOrder {
  const removals: number[] = []
  const writes: number[] = []
  for (const [index, step] of steps.entries()) (step.sha256 === undefined ? removals : writes).push(index)
  const successor = new Map<number, number>()
  if (removals.length > 0) {
    const arriving = new Map(writes.map((index) => [foldPath((steps[index] as TransactionStep).path), index]))
    for (const index of removals) {
      const write = arriving.get(foldPath((steps[index] as TransactionStep).path))
      if (write !== undefined) successor.set(index, write)
    }
  }
  return { removals, writes, successor, successors: new Set(successor.values()) }
}

/**
 * Of paths that leave, those that must be gone before others arrive: the same name, its folder, or a file in its place.
 */
export function leavingFirst(leaving: readonly string[], arriving: readonly string[]): string[] {
  if (leaving.length === 0 || arriving.length === 0) return []
  const names = new Set<string>()
  const folders = new Set<string>()
  for (const path of arriving) {
    const folded = foldPath(path)
    names.add(folded)
    for (const folder of foldersAbove(folded)) folders.add(folder)
  }
  return leaving.filter((path) => {
    const folded = foldPath(path)
    return names.has(folded) || folders.has(folded) || foldersAbove(folded).some((folder) => names.has(folder))
  })
}

function foldersAbove(path: string): string[] {
  const folders: string[] = []
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) folders.push(path.slice(0, at))
  return folders
}

/** Tells the player where a file of theirs is now. */
export function asideNotice({ path, to }: AsideStep): EngineEventBody {
  return {
    type: 'notice',
    code: 'LA_SET_ASIDE',
    message: `"${path}" is yours and was in the way of the release; it is now "${to}"`,
  }
}
