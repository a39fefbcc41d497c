import { join } from 'node:path'
import { systemErrorCode } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { rollForward } from './apply.ts'
import type { AppliedChange, ApplyContext } from './apply.ts'
import { listFolder, look, removeFile, syncFolders } from '../disk/disk.ts'
import type { EmitEvent } from '../events.ts'

import { removeHalfCopies } from './half-copies.ts'
import { finalize, restoreManifest } from './finalize.ts'
import { rollBack } from './undo.ts'
import { hostSystem } from '../disk/host-system.ts'
import { changeMode, probeTraits } from '../disk/modes.ts'
import type { FileSystemTraits } from '../disk/modes.ts'
import type { Layout } from '../disk/layout.ts'
import { readState, writeState } from '../disk/state-file.ts'
import type { InstallState } from '../disk/state-file.ts'
import { asideNotice, readTransaction } from './transaction.ts'
import type { Transaction } from './transaction.ts'

/** What {@link recover} found and did. */
export interface Recovery {
  readonly state: InstallState
  /** `forward`: the cut-off update is now installed; `back`: it was undone; `damaged`: repair must look at all. */
  readonly outcome: 'nothing' | 'forward' | 'back' | 'damaged'
}

/** A release before is kept for a week at most, confirmed or not. */
const KEPT_MS = 7 * 24 * 60 * 60 * 1000

const TEMPORARY_NAME = /^\..+\.[0-9a-f]{12}\.tmp$/

async function removeTemporaries(fs: FileSystem, layout: Layout): Promise<void> {
  const channels = (await listFolder(fs, layout.manifests)).filter((name) => !name.includes('.'))
  const folders = [layout.updates, layout.trust, layout.roles, layout.manifests, layout.index]
  for (const folder of [...folders, ...channels.map((name) => join(layout.manifests, name))]) {
    for (const name of await listFolder(fs, folder)) {
      if (TEMPORARY_NAME.test(name)) await removeFile(fs, join(folder, name))
    }
  }
}

async function removeOldBackups(fs: FileSystem, layout: Layout, state: InstallState): Promise<void> {
  for (const name of await listFolder(fs, layout.backup)) {
    if (name !== state.previous?.transaction) await fs.rm(join(layout.backup, name), { recursive: true, force: true })
  }
}

async function setAsideTransaction(fs: FileSystem, layout: Layout): Promise<void> {
  await fs.rename(layout.transaction, `${layout.transaction}.bad`)
  await syncFolders(fs, [layout.updates])
}

/**
 * Rolls a cut-off transaction forward. What somebody put in the way of a new file since then keeps the old release; the
 * next update plans for it.
 */
async function isFinished(context: ApplyContext, transaction: Transaction): Promise<boolean> {
  try {
    return await rollForward(context, transaction)
  } catch (error) {
    if (!(error instanceof LauncherError) || error.code !== 'LA_IN_THE_WAY') throw error
    return false
  }
}

async function finish(
  context: ApplyContext,
  transaction: Transaction,
  state: InstallState,
  at: number,
): Promise<Recovery> {
  await removeHalfCopies(context, transaction)
  // What the transaction itself sets aside is said once all of it is in place.
  const onChange = (change: AppliedChange): void => void (change.action === 'kept' && context.onChange?.(change))
  if (await isFinished({ ...context, onChange }, transaction)) {
    return { state: await finalize(context, transaction, state, at), outcome: 'forward' }
  }
  // A change that is written down as done (C9) is not undone: what is missing went since then.
  const isDone = isRecorded(transaction, state)
  const isDamaged = isDone || (await rollBack(context, transaction)).length > 0
  if (!isDone) await restoreManifest(context, transaction)
  const after = isDamaged ? { ...state, suspect: true } : state
  if (isDamaged) await writeState(context.fs, context.layout, after)
  await removeFile(context.fs, context.layout.transaction)
  await syncFolders(context.fs, [context.layout.updates])
  return { state: after, outcome: isDamaged ? 'damaged' : 'back' }
}

function isRecorded({ from, to }: Transaction, { installed }: InstallState): boolean {
  return installed?.manifestSha256 === to.manifestSha256 && from?.manifestSha256 !== to.manifestSha256
}

/**
 * Brings the install to the old or the new release after whatever happened before: C0 to C10 of
 * docs/spec/launcher.md §4. Running it again changes nothing.
 */
export async function recover(context: ApplyContext, emit: EmitEvent, at: number): Promise<Recovery> {
  const { fs, layout } = context
  await removeTemporaries(fs, layout)
  const { state, damaged } = await readState(fs, layout)
  if (damaged)
    emit({ type: 'notice', code: 'LA_JOURNAL', message: 'The state file was damaged; every file is verified again' })
  let recovery: Recovery = { state, outcome: damaged ? 'damaged' : 'nothing' }
  try {
    const transaction = await readTransaction(fs, layout.transaction)
    const onChange = ({ path, action, to = '' }: AppliedChange): void => {
      if (action === 'set-aside') emit(asideNotice({ path, to }))
      else if (action === 'kept') emit({ type: 'file', path, action })
    }
    if (transaction !== undefined) recovery = await finish({ ...context, onChange }, transaction, state, at)
    if (recovery.outcome === 'forward') for (const aside of transaction?.asides ?? []) emit(asideNotice(aside))
  } catch (error) {
    if (!(error instanceof LauncherError) || error.code !== 'LA_JOURNAL') throw error
    const after = { ...state, suspect: true }
    await writeState(fs, layout, after)
    await setAsideTransaction(fs, layout)
    emit({ type: 'notice', code: error.code, message: error.message })
    recovery = { state: after, outcome: 'damaged' }
  }
  if (recovery.outcome === 'forward' || recovery.outcome === 'back') {
    const message =
      recovery.outcome === 'forward'
        ? 'An update that was cut off has been finished'
        : 'An update that was cut off has been undone'
    emit({ type: 'notice', code: 'LA_RECOVERED', message })
  }
  const { previous } = recovery.state
  if (previous !== undefined && at - previous.at > KEPT_MS) {
    recovery = { ...recovery, state: { ...recovery.state, previous: undefined } }
    await writeState(fs, layout, recovery.state)
  }
  // After a damaged journal the backups may be all there is of some files: they stay until a repair has finished.
  if (!recovery.state.suspect) await removeOldBackups(fs, layout, recovery.state)
  return recovery
}

/** Refuses an `.updates` that is a link or belongs to someone else, and makes what is missing (§4.7 row 202). */
export async function prepareFolders(fs: FileSystem, layout: Layout, userId: number | undefined): Promise<void> {
  let traits: FileSystemTraits | undefined
  for (const folder of [
    layout.updates,
    layout.staging,
    layout.backup,
    layout.index,
    layout.trust,
    layout.roles,
    layout.manifests,
  ]) {
    const found = await look(fs, folder)
    if (found.kind === 'nothing') {
      await fs.mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
        // Another launcher was quicker; the lock decides who goes on.
        if (systemErrorCode(error) !== 'EEXIST') throw error
      })
      continue
    }
    if (found.kind === 'file' || found.what !== 'folder') {
      throw new LauncherError('LA_SYMLINK', `Cannot use "${folder}": it is not a folder of its own`)
    }
    const { uid, mode } = await fs.lstat(folder)
    if (userId !== undefined && uid !== userId) {
      // On a volume where every file belongs to the user who mounted it, the owner says nothing.
      traits ??= await probeTraits(fs, layout.root, userId)
      if (traits.hasOwners) throw foreignFolder(folder, uid, userId)
    }
    if (hostSystem.hasModes && (mode & 0o077) !== 0) await changeMode(fs, folder, 0o700)
  }
}

function foreignFolder(folder: string, owner: number, userId: number): LauncherError {
  return new LauncherError('LA_PERMISSION', `Cannot use "${folder}": it belongs to user ${owner}, not to ${userId}`, {
    details: { path: folder, owner },
    hint: 'Run the launcher as the account that installed it, or install into a folder of your own',
  })
}
