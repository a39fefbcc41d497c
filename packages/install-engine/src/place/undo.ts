import { foldPath } from '@keyturn/manifest'
import { pathExists } from '@keyturn/primitives/node'
import { hashIfFile, look, placeInside, removeFile, syncFolders } from '../disk/disk.ts'
import { FolderGuard } from '../disk/folder-guard.ts'
import { changeInstalledMode } from '../disk/modes.ts'
import { stagedPlace, touchedFolders } from './apply.ts'
import type { ApplyContext } from './apply.ts'
import { untilForgotten } from '../disk/remembered-names.ts'
import { removeEmptyFolders, removeEmptyTree, renamePatiently } from './move.ts'
import { freeName } from './obstacles.ts'
import { moveIfThere, moveIntoPlace } from './remembered.ts'
import { backupPlace, orderSteps } from './transaction.ts'
import type { AsideStep, StepOrder, Transaction, TransactionStep } from './transaction.ts'

/** Takes a committed transaction back. */
class Undo {
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

  async run(): Promise<string[]> {
    const { fs, layout } = this.#context
    const { asides = [], modes = [] } = this.#transaction
    const lost: string[] = []
    const note = (path: string, isBack: boolean): void => void (isBack || lost.push(path))
    for (const { path, oldMode } of modes) await this.#restoreMode(path, oldMode)
    for (const index of this.#order.writes.toReversed()) note(this.#step(index).path, await this.#undoWrite(index))
    for (const aside of asides.toReversed()) note(aside.path, await this.#undoAside(aside))
    for (const index of this.#order.removals.toReversed()) note(this.#step(index).path, await this.#undoRemoval(index))
    await syncFolders(fs, touchedFolders(layout, this.#transaction))
    return lost
  }

  #step(index: number): TransactionStep {
    return this.#transaction.steps[index] as TransactionStep
  }

  #live(path: string): string {
    return placeInside(this.#context.layout.root, path)
  }

  async #restoreMode(path: string, mode: number): Promise<void> {
    if (!(await this.#guard.parentsAreReal(path))) return
    if ((await look(this.#context.fs, this.#live(path))).kind === 'file')
      await changeInstalledMode(this.#context.fs, this.#live(path), mode)
  }

  async #undoWrite(index: number): Promise<boolean> {
    const { fs, layout } = this.#context
    const step = this.#step(index)
    const [live, staged] = [this.#live(step.path), stagedPlace(layout, step)]
    await this.#guard.parents(step.path) // nothing is undone through a link
    const backup = backupPlace(layout, this.#transaction, index)
    const hasBackup = await pathExists(backup, fs)
    if (!(await pathExists(staged, fs))) {
      if ((await hashIfFile(fs, live)) === step.sha256) await renamePatiently(this.#context, live, staged)
      else if (!hasBackup && step.existed) return await pathExists(live, fs)
    } else if (!hasBackup && !step.existed && !this.#order.successors.has(index)) {
      // Copied from another volume, and the source is still there.
      if ((await hashIfFile(fs, live)) === step.sha256) await removeFile(fs, live)
    }
    if (hasBackup) {
      // A file that the release brings is never the player's own: whatever it is now gives way.
      if ((await look(fs, live)).kind === 'file') await removeFile(fs, live)
      return await this.#restore(step.path, backup)
    }
    if (!step.existed) await this.#removeEmptyFolders(step.path)
    return true
  }

  async #undoAside({ path, to }: AsideStep): Promise<boolean> {
    const { fs } = this.#context
    if (!(await pathExists(this.#live(to), fs))) return await pathExists(this.#live(path), fs)
    return await this.#restore(path, this.#live(to))
  }

  async #undoRemoval(index: number): Promise<boolean> {
    const { fs, layout } = this.#context
    const step = this.#step(index)
    const backup = backupPlace(layout, this.#transaction, index)
    if (await pathExists(backup, fs)) return await this.#restore(step.path, backup)
    return !step.existed || (await pathExists(this.#live(step.path), fs))
  }

  /** Brings something back to its place, whatever took it meanwhile; `false` when a folder with files did. */
  async #restore(path: string, from: string): Promise<boolean> {
    const { fs } = this.#context
    const live = this.#live(path)
    await this.#clearParents(path)
    await this.#guard.makeParents(path)
    const found = await look(fs, live)
    if (found.kind === 'other' && found.what === 'folder') {
      if (!(await removeEmptyTree(fs, live))) return false
      this.#guard.forget(path)
    } else if (found.kind !== 'nothing') {
      if (await this.#isOwn(live)) await removeFile(fs, live)
      else await this.#setAside(path)
    }
    await moveIntoPlace(this.#context, this.#guard, { from, root: this.#context.layout.root, path })
    return true
  }

  /** Sets aside what somebody put where a folder of the release before was, while the change was cut off. */
  async #clearParents(path: string): Promise<void> {
    const parents = await this.#guard.parents(path)
    if (typeof parents === 'string') return
    await untilForgotten(this.#context.fs, this.#live(parents.blockedAt))
    const now = await this.#guard.parents(path)
    if (typeof now !== 'string') await this.#setAside(now.blockedAt)
  }

  /** Whether a file is one that this transaction put there. */
  async #isOwn(live: string): Promise<boolean> {
    const sha256 = await hashIfFile(this.#context.fs, live)
    return sha256 !== undefined && this.#transaction.steps.some((step) => step.sha256 === sha256)
  }

  async #setAside(path: string): Promise<void> {
    const { steps, asides = [] } = this.#transaction
    const taken = new Set([...steps, ...asides].map((one) => foldPath(one.path)))
    const to = await freeName(this.#context, path, taken)
    await moveIfThere(this.#context, this.#live(path), this.#live(to))
    this.#context.onChange?.({ path, action: 'set-aside', to })
  }

  async #removeEmptyFolders(path: string): Promise<void> {
    for (const folder of await removeEmptyFolders(this.#context.fs, this.#context.layout, [path]))
      this.#guard.forget(folder)
  }
}

/**
 * Undoes a decided transaction: every file is again what it was, new ones are back in staging.
 *
 * @returns Paths that could not be brought back; they need repair.
 */
export async function rollBack(context: ApplyContext, transaction: Transaction): Promise<string[]> {
  return await new Undo(context, transaction).run()
}
