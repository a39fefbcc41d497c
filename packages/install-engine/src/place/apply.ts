import { dirname, join } from 'node:path'
import { foldPath } from '@keyturn/manifest'
import { pathExists } from '@keyturn/primitives/node'
import { LauncherError, SCANNER_HINT } from '../errors.ts'
import { hashIfFile, look, placeInside, removeFile, sameIdentity, syncFolders } from '../disk/disk.ts'
import type { FileIdentity } from '../disk/disk.ts'
import { FolderGuard, inTheWay } from '../disk/folder-guard.ts'
import type { Layout } from '../disk/layout.ts'
import { untilForgotten } from '../disk/remembered-names.ts'
import { changeInstalledMode } from '../disk/modes.ts'
import { removeEmptyFolders, removeEmptyTree } from './move.ts'
import type { MoveContext } from './move.ts'
import { moveIfThere, moveIntoPlace } from './remembered.ts'
import { backupPlace, leavingFirst, orderSteps } from './transaction.ts'
import type { AsideStep, ModeStep, StepOrder, Transaction, TransactionStep } from './transaction.ts'

/** A change of the install that was made. */
export interface AppliedChange {
  readonly path: string
  readonly action: 'written' | 'removed' | 'kept' | 'set-aside'
  /** Where it was set aside. */
  readonly to?: string | undefined
}

/** What the steps of an apply work with. */
export interface ApplyContext extends MoveContext {
  readonly layout: Layout
  /** Folders below the install that may be links on this machine. */
  readonly linkedFolders?: readonly string[] | undefined
  /** Identities of staged files since their hash was taken, by `staged`; missing ones are hashed again. */
  readonly verified?: ReadonlyMap<string, FileIdentity> | undefined
  readonly onChange?: ((change: AppliedChange) => void) | undefined
}

/** Where the new bytes of a step wait. */
export function stagedPlace(layout: Layout, step: TransactionStep): string {
  return join(layout.updates, ...(step.staged ?? '').split('/'))
}

/** Every folder with a name that may be new in it: a new folder's own name is in the one above it. */
export function touchedFolders(layout: Layout, { id, steps, asides = [] }: Transaction): Set<string> {
  const folders = new Set([layout.staging, join(layout.backup, id), layout.backup])
  for (const { path } of [...steps, ...asides]) {
    for (let folder = dirname(placeInside(layout.root, path)); !folders.has(folder); folder = dirname(folder)) {
      folders.add(folder)
      if (folder === layout.root) break
    }
  }
  for (const step of steps) if (step.staged !== undefined) folders.add(dirname(stagedPlace(layout, step)))
  return folders
}

/** Makes the folder that takes the old files; before the decision, so that a full disk is met in time. */
export async function prepareBackup(context: ApplyContext, transaction: Transaction): Promise<void> {
  await context.fs.mkdir(join(context.layout.backup, transaction.id), { recursive: true, mode: 0o700 })
  await syncFolders(context.fs, [context.layout.backup, context.layout.updates])
}

/** Whether a file arrives where another one, or a folder, has to be gone first. */
function reshapes({ steps, asides = [] }: Transaction, order: StepOrder): boolean {
  if (asides.length > 0) return true
  const paths = (indexes: readonly number[]): string[] => indexes.map((index) => (steps[index] as TransactionStep).path)
  return leavingFirst(paths(order.removals), paths(order.writes)).length > 0
}

/**
 * Puts a committed transaction into place. Removed files go first, then the player's own files that are in the way, then
 * the folders that became empty; only then the new files.
 */
class Swap {
  readonly #context: ApplyContext
  readonly #transaction: Transaction
  readonly #order: StepOrder
  readonly #guard: FolderGuard

  constructor(context: ApplyContext, transaction: Transaction) {
    this.#context = context
    this.#transaction = transaction
    this.#order = orderSteps(transaction.steps)
    this.#guard = new FolderGuard(context.layout.root, context.fs, context.linkedFolders)
  }

  #step(index: number): TransactionStep {
    return this.#transaction.steps[index] as TransactionStep
  }

  #live(path: string): string {
    return placeInside(this.#context.layout.root, path)
  }

  /** Puts everything in place; `isReady` leaves out steps that an earlier run did. */
  async run(isReady: (index: number) => boolean = () => true): Promise<void> {
    const { fs, layout } = this.#context
    const { asides = [], modes = [] } = this.#transaction
    const removals = this.#order.removals.filter(isReady)
    for (const index of removals) await this.#remove(index)
    const gone = removals.map((index) => this.#step(index).path)
    const emptied = await removeEmptyFolders(fs, layout, gone)
    for (const folder of emptied) this.#guard.forget(folder)
    // Every aside was made before the first new file came: what is in such a place afterwards is the new file.
    const isBegun = !this.#order.writes.every(isReady)
    if (!isBegun) for (const aside of asides) await this.#setAside(aside)
    // The names that are gone are durably gone before others take their places.
    if (reshapes(this.#transaction, this.#order)) await syncFolders(fs, touchedFolders(layout, this.#transaction))
    await this.#forgetNames([...gone, ...emptied, ...asides.map(({ path }) => path)])
    for (const index of this.#order.writes.filter(isReady)) await this.#write(index)
    for (const step of modes) await this.#changeMode(step)
    await syncFolders(fs, touchedFolders(layout, this.#transaction))
  }

  /**
   * Some systems remember a name for a second under each spelling it was asked for, also after it is gone under another
   * one. Waits until those that new files need are forgotten.
   */
  async #forgetNames(gone: readonly string[]): Promise<void> {
    if (gone.length === 0) return
    const { fs } = this.#context
    const folded = new Set(gone.map(foldPath))
    const asked = new Set<string>()
    for (const index of this.#order.writes) {
      const { path } = this.#step(index)
      for (let name = path; name !== '' && !asked.has(name); name = name.slice(0, Math.max(0, name.lastIndexOf('/')))) {
        asked.add(name)
        if (!folded.has(foldPath(name))) continue
        await untilForgotten(fs, this.#live(name))
      }
    }
  }

  async #remove(index: number): Promise<void> {
    const { path } = this.#step(index)
    if (!(await this.#guard.parentsAreReal(path))) return
    const live = this.#live(path)
    const found = await look(this.#context.fs, live)
    if (found.kind === 'nothing' || (found.kind === 'other' && found.what === 'folder')) return
    await this.#moveToBackup(index, live)
    this.#context.onChange?.({ path, action: 'removed' })
  }

  async #moveToBackup(index: number, live: string): Promise<void> {
    const { fs, layout } = this.#context
    const backup = backupPlace(layout, this.#transaction, index)
    if (await pathExists(backup, fs)) await removeFile(fs, live) // already in the backup before a crash
    else await moveIfThere(this.#context, live, backup)
  }

  async #setAside({ path, to }: AsideStep): Promise<void> {
    const { fs } = this.#context
    const [live, target] = [this.#live(path), this.#live(to)]
    if (!(await this.#guard.parentsAreReal(path)) || (await pathExists(target, fs))) return
    if (!(await pathExists(live, fs))) return
    await moveIfThere(this.#context, live, target)
    if (!(await pathExists(target, fs))) return // the system only remembered it
    this.#guard.forget(path)
    this.#context.onChange?.({ path, action: 'set-aside', to })
  }

  async #write(index: number): Promise<void> {
    const step = this.#step(index)
    const live = this.#live(step.path)
    await this.#guard.makeParents(step.path)
    const identity = await this.#checkStaged(step)
    await this.#clear(index, live)
    const { layout } = this.#context
    const placement = { from: stagedPlace(layout, step), root: layout.root, path: step.path }
    const how = await moveIntoPlace(this.#context, this.#guard, placement)
    await this.#checkInstalled(step, how === 'renamed' ? identity : undefined)
    this.#context.onChange?.({ path: step.path, action: 'written' })
  }

  /** Makes room for a new file. */
  async #clear(index: number, live: string): Promise<void> {
    const { fs, verified } = this.#context
    const step = this.#step(index)
    const found = await look(fs, live)
    if (found.kind === 'nothing') return
    if (found.kind === 'other' && found.what === 'folder') {
      if (!(await removeEmptyTree(fs, live))) throw inTheWay(step.path, step.path)
      this.#guard.forget(step.path)
      return
    }
    if (!step.existed) {
      await untilForgotten(fs, live)
      if ((await look(fs, live)).kind === 'nothing') return
      if (verified !== undefined) throw inTheWay(step.path, step.path)
      // After a crash: the file itself, copied from another volume; the rename puts it there once more.
      const sha256 = await hashIfFile(fs, live)
      if (sha256 === step.sha256) return
      if (!(await this.#isLeaving(index, sha256))) throw inTheWay(step.path, step.path)
    }
    await this.#moveToBackup(index, live)
  }

  /** Whether these bytes are those of the other spelling of a step's place, which are in the backup already. */
  async #isLeaving(index: number, sha256: string | undefined): Promise<boolean> {
    const { fs, layout } = this.#context
    for (const [removal, write] of this.#order.successor)
      if (write === index) return (await hashIfFile(fs, backupPlace(layout, this.#transaction, removal))) === sha256
    return false
  }

  /** Refuses a staged file that is not the one whose hash was taken (§4.7 row 201). */
  async #checkStaged(step: TransactionStep): Promise<FileIdentity> {
    const { fs, layout, verified } = this.#context
    const place = stagedPlace(layout, step)
    const found = await look(fs, place)
    const known = verified?.get(step.staged ?? '')
    if (found.kind === 'file') {
      if (known !== undefined && sameIdentity(found.identity, known)) return found.identity
      // Not hashed yet, or on a file system that numbers its files again: the bytes decide, if nobody writes meanwhile.
      const isRight = (await hashIfFile(fs, place)) === step.sha256
      const after = await look(fs, place)
      if (isRight && after.kind === 'file' && sameIdentity(found.identity, after.identity)) return found.identity
    }
    throw tampered(step, found.kind === 'nothing' ? 'was removed' : 'changed')
  }

  async #checkInstalled(step: TransactionStep, staged: FileIdentity | undefined): Promise<void> {
    const { fs } = this.#context
    const place = this.#live(step.path)
    const found = await look(fs, place)
    const isRight =
      (staged !== undefined && found.kind === 'file' && sameIdentity(found.identity, staged, true)) ||
      (await hashIfFile(fs, place)) === step.sha256
    if (!isRight) throw tampered(step, found.kind === 'nothing' ? 'was removed' : 'changed')
  }

  async #changeMode({ path, mode }: ModeStep): Promise<void> {
    const live = this.#live(path)
    if (!(await this.#guard.parentsAreReal(path)) || (await look(this.#context.fs, live)).kind !== 'file') return
    await changeInstalledMode(this.#context.fs, live, mode)
    this.#context.onChange?.({ path, action: 'written' })
  }

  /** Which steps are still to be done after a crash; `undefined` when a new file is missing. */
  async remaining(): Promise<ReadonlySet<number> | undefined> {
    const ready = new Set<number>()
    for (const index of this.#order.writes) {
      await this.#guard.parents(this.#step(index).path) // no step leads through a link
      const stands = await this.#standingOfWrite(index)
      if (stands === 'lost') return undefined
      if (stands === 'ready') ready.add(index)
    }
    for (const index of this.#order.removals) {
      await this.#guard.parents(this.#step(index).path)
      if (await this.#isToBeRemoved(index, ready)) ready.add(index)
    }
    this.#guard.forgetAll() // what was looked at is about to change
    return ready
  }

  async #standingOfWrite(index: number): Promise<'done' | 'ready' | 'lost'> {
    const { fs, layout } = this.#context
    const step = this.#step(index)
    // The staged file first: in its place may be the same bytes under another spelling of the name, about to leave.
    if ((await hashIfFile(fs, stagedPlace(layout, step))) === step.sha256) return 'ready'
    return (await hashIfFile(fs, this.#live(step.path))) === step.sha256 ? 'done' : 'lost'
  }

  async #isToBeRemoved(index: number, ready: ReadonlySet<number>): Promise<boolean> {
    const { fs, layout } = this.#context
    const successor = this.#order.successor.get(index)
    if (successor !== undefined && !ready.has(successor)) return false // what is there now is the new file
    if (await pathExists(backupPlace(layout, this.#transaction, index), fs)) return false
    const { path, was } = this.#step(index)
    const live = this.#live(path)
    if (successor === undefined && was !== undefined && (await look(fs, live)).kind === 'file') {
      if ((await hashIfFile(fs, live)) === was) return true
      // Changed since the update was decided: as one that was changed before, it stays.
      this.#context.onChange?.({ path, action: 'kept' })
      return false
    }
    return await pathExists(live, fs)
  }
}

function tampered(step: TransactionStep, what: string): LauncherError {
  return new LauncherError(
    'LA_STAGE_TAMPERED',
    `Cannot install "${step.path}": its downloaded file ${what} after it was verified`,
    {
      details: { path: step.path },
      hint: SCANNER_HINT,
    },
  )
}

/**
 * Puts every file of a decided transaction in place, and makes that durable. A crash anywhere in it is finished by
 * {@link rollForward}; an error that stays is undone by `rollBack`.
 */
export async function swap(context: ApplyContext, transaction: Transaction): Promise<void> {
  await new Swap(context, transaction).run()
}

/**
 * Finishes a decided transaction after a crash. Looks at every file first: `false`, with nothing touched, when a new
 * file is missing, so that the caller undoes the transaction instead.
 */
export async function rollForward(context: ApplyContext, transaction: Transaction): Promise<boolean> {
  const run = new Swap({ ...context, verified: undefined }, transaction)
  const ready = await run.remaining()
  if (ready === undefined) return false
  await run.run((index) => ready.has(index))
  return true
}
