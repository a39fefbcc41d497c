import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathExists, systemErrorCode } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { FolderGuard, hashIfFile, look, placeInside, removeFile, sameIdentity, syncFolders } from '../disk/disk.ts'
import type { FileIdentity } from '../disk/disk.ts'
import { hostSystem } from '../disk/host-system.ts'
import type { HostSystem } from '../disk/host-system.ts'
import type { Layout } from '../disk/layout.ts'
import { backupPlace } from './transaction.ts'
import type { Transaction, TransactionStep } from './transaction.ts'

/** What the steps of an apply work with. */
export interface ApplyContext {
  readonly fs: FileSystem
  readonly layout: Layout
  /** How long a locked file is waited for; milliseconds. */
  readonly lockPatienceMs: number
  /** Identities of staged files since their hash was taken, by `staged`; missing ones are hashed again. */
  readonly verified?: ReadonlyMap<string, FileIdentity> | undefined
  /** Default: the one this process runs on. */
  readonly system?: HostSystem | undefined
  readonly onStep?: ((step: TransactionStep) => void) | undefined
}

/** Copies whole or not at all, then removes the source: what a rename is where two folders lie on two volumes. */
async function moveAcross(fs: FileSystem, from: string, to: string): Promise<void> {
  const temporary = `${to}.${randomBytes(6).toString('hex')}.keyturn`
  try {
    await fs.copyFile(from, temporary, constants.COPYFILE_EXCL)
    const { mode } = await fs.lstat(from)
    await fs.chmod(temporary, mode & 0o777)
    const handle = await fs.open(temporary, 'r+')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, to)
  } catch (error) {
    await fs.rm(temporary, { force: true }).catch(() => undefined) // the first error is the one to report
    throw error
  }
  await syncFolders(fs, [dirname(to)]) // before the source goes
  await removeFile(fs, from)
}

/**
 * Renames; a file held by another program is waited for, from 0.1 s growing to 2 s (MUST-27). Across volumes the file is
 * copied.
 */
export async function renamePatiently(context: ApplyContext, from: string, to: string): Promise<'renamed' | 'copied'> {
  const deadline = performance.now() + context.lockPatienceMs
  for (let waitMs = 100; ; waitMs = Math.min(2_000, waitMs * 2)) {
    try {
      await context.fs.rename(from, to)
      return 'renamed'
    } catch (error) {
      const code = systemErrorCode(error) ?? ''
      if (code === 'EXDEV' && (await look(context.fs, from)).kind === 'file') {
        await moveAcross(context.fs, from, to)
        return 'copied'
      }
      if (!(context.system ?? hostSystem).heldCodes.has(code) || performance.now() + waitMs > deadline) throw error
      await sleep(waitMs)
    }
  }
}

function stagedPlace(layout: Layout, step: TransactionStep): string {
  return join(layout.updates, ...(step.staged ?? '').split('/'))
}

/** Refuses a staged file that is not the one whose hash was taken (§4.7 row 201). */
async function checkStaged(context: ApplyContext, step: TransactionStep): Promise<FileIdentity> {
  const place = stagedPlace(context.layout, step)
  const found = await look(context.fs, place)
  const known = context.verified?.get(step.staged ?? '')
  if (found.kind === 'file') {
    if (known !== undefined && sameIdentity(found.identity, known)) return found.identity
    if (known === undefined && (await hashIfFile(context.fs, place)) === step.sha256) return found.identity
  }
  throw new LauncherError(
    'LA_STAGE_TAMPERED',
    `Cannot install "${step.path}": its downloaded file changed after it was verified`,
    {
      details: { path: step.path },
    },
  )
}

async function checkInstalled(
  context: ApplyContext,
  step: TransactionStep,
  staged: FileIdentity | undefined,
): Promise<void> {
  const place = placeInside(context.layout.root, step.path)
  const found = await look(context.fs, place)
  if (
    staged === undefined
      ? (await hashIfFile(context.fs, place)) === step.sha256
      : found.kind === 'file' && sameIdentity(found.identity, staged, true)
  )
    return
  throw new LauncherError('LA_STAGE_TAMPERED', `Cannot install "${step.path}": it changed while it was put in place`, {
    details: { path: step.path },
  })
}

/** Moves what lies at the live path out of the way, into the backup. */
async function setAside(context: ApplyContext, transaction: Transaction, index: number, live: string): Promise<void> {
  const backup = backupPlace(context.layout, transaction, index)
  const found = await look(context.fs, live)
  if (found.kind === 'nothing') return
  if (found.kind === 'other' && found.what === 'folder' && (await context.fs.readdir(live)).length > 0) {
    throw new LauncherError('LA_SYMLINK', `Cannot replace "${live}": a folder with files in it is in its place`)
  }
  if (await pathExists(backup, context.fs)) await removeFile(context.fs, live) // already set aside before a crash
  else await renamePatiently(context, live, backup)
}

async function swapStep(
  context: ApplyContext,
  transaction: Transaction,
  index: number,
  guard: FolderGuard,
): Promise<void> {
  const step = transaction.steps[index] as TransactionStep
  const live = placeInside(context.layout.root, step.path)
  if (step.sha256 === undefined) {
    if (await guard.parentsAreReal(step.path)) await setAside(context, transaction, index, live)
    return
  }
  await guard.makeParents(step.path)
  const identity = await checkStaged(context, step)
  await setAside(context, transaction, index, live)
  const how = await renamePatiently(context, stagedPlace(context.layout, step), live)
  await checkInstalled(context, step, how === 'renamed' ? identity : undefined)
}

/** Every folder with a name that may be new in it: a new folder's own name lies in the one above it. */
function touchedFolders(layout: Layout, transaction: Transaction): Set<string> {
  const folders = new Set([layout.staging, join(layout.backup, transaction.id), layout.backup])
  for (const step of transaction.steps) {
    for (let folder = dirname(placeInside(layout.root, step.path)); !folders.has(folder); folder = dirname(folder)) {
      folders.add(folder)
      if (folder === layout.root) break
    }
    if (step.staged !== undefined) folders.add(dirname(stagedPlace(layout, step)))
  }
  return folders
}

/** Makes the folder that takes the old files; before the decision, so that a full disk is met in time. */
export async function prepareBackup(context: ApplyContext, transaction: Transaction): Promise<void> {
  await context.fs.mkdir(join(context.layout.backup, transaction.id), { recursive: true, mode: 0o700 })
  await syncFolders(context.fs, [context.layout.backup, context.layout.updates])
}

/**
 * Puts every file of a decided transaction in place, and makes that durable. A crash anywhere in it is finished by
 * {@link rollForward}; an error that stays is undone by {@link rollBack}.
 */
export async function swap(context: ApplyContext, transaction: Transaction): Promise<void> {
  const guard = new FolderGuard(context.layout.root, context.fs)
  for (const [index, step] of transaction.steps.entries()) {
    await swapStep(context, transaction, index, guard)
    context.onStep?.(step)
  }
  await syncFolders(context.fs, touchedFolders(context.layout, transaction))
}

/** How one step stands after a crash. */
async function standing(
  context: ApplyContext,
  transaction: Transaction,
  index: number,
): Promise<'done' | 'ready' | 'lost'> {
  const step = transaction.steps[index] as TransactionStep
  const live = placeInside(context.layout.root, step.path)
  if (step.sha256 === undefined) {
    const gone = !(await pathExists(live, context.fs))
    return gone || (await pathExists(backupPlace(context.layout, transaction, index), context.fs)) ? 'done' : 'ready'
  }
  if ((await hashIfFile(context.fs, live)) === step.sha256) return 'done'
  return (await hashIfFile(context.fs, stagedPlace(context.layout, step))) === step.sha256 ? 'ready' : 'lost'
}

/**
 * Finishes a decided transaction after a crash. Looks at every file first: `false`, with nothing touched, when a new
 * file is missing, so that the caller undoes the transaction instead.
 */
export async function rollForward(context: ApplyContext, transaction: Transaction): Promise<boolean> {
  const guard = new FolderGuard(context.layout.root, context.fs)
  const ready: number[] = []
  for (const [index, step] of transaction.steps.entries()) {
    await guard.parentsAreReal(step.path)
    const stands = await standing(context, transaction, index)
    if (stands === 'lost') return false
    if (stands === 'ready') ready.push(index)
  }
  for (const index of ready) await swapStep({ ...context, verified: undefined }, transaction, index, guard)
  await syncFolders(context.fs, touchedFolders(context.layout, transaction))
  return true
}

async function undoStep(context: ApplyContext, transaction: Transaction, index: number): Promise<'undone' | 'lost'> {
  const { fs, layout } = context
  const step = transaction.steps[index] as TransactionStep
  const live = placeInside(layout.root, step.path)
  const backup = backupPlace(layout, transaction, index)
  const hasBackup = await pathExists(backup, fs)
  if (!hasBackup && step.existed) return (await pathExists(live, fs)) ? 'undone' : 'lost'
  const isOurs = step.sha256 !== undefined && (await hashIfFile(fs, live)) === step.sha256
  if (isOurs) {
    const staged = stagedPlace(layout, step)
    if (await pathExists(staged, fs)) await removeFile(fs, live)
    else await renamePatiently(context, live, staged)
  }
  if (hasBackup) {
    if (!isOurs) await removeFile(fs, live)
    await renamePatiently(context, backup, live)
  } else if (isOurs) {
    await removeEmptyParents(fs, layout, step.path)
  }
  return 'undone'
}

/**
 * Undoes a decided transaction: every file is again what it was, new ones are back in staging.
 *
 * @returns Paths that could not be brought back; they need repair.
 */
export async function rollBack(context: ApplyContext, transaction: Transaction): Promise<string[]> {
  const lost: string[] = []
  const guard = new FolderGuard(context.layout.root, context.fs)
  for (let index = transaction.steps.length - 1; index >= 0; index--) {
    const { path } = transaction.steps[index] as TransactionStep
    if (!(await guard.parentsAreReal(path)) && transaction.steps[index]?.existed !== true) continue
    if ((await undoStep(context, transaction, index)) === 'lost') lost.push(path)
  }
  await syncFolders(context.fs, touchedFolders(context.layout, transaction))
  return lost
}

/** Removes the folders above a path that have become empty, never the root. */
export async function removeEmptyParents(fs: FileSystem, layout: Layout, path: string): Promise<void> {
  const parts = path.split('/').slice(0, -1)
  for (let count = parts.length; count > 0; count--) {
    try {
      await fs.rmdir(join(layout.root, ...parts.slice(0, count)))
    } catch {
      return // not empty, not there, or in use: it stays, and so does what is above it
    }
  }
}
