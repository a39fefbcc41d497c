import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { LauncherError } from '../errors.ts'
import type { ApplyContext } from './apply.ts'
import { removeEmptyFolders } from './move.ts'
import { keptFiles } from '../disk/kept-manifest.ts'
import type { KeptFiles } from '../disk/kept-manifest.ts'
import { readSmallFile, removeFile, syncFolders, writeSmallFile } from '../disk/disk.ts'
import type { InstallState } from '../disk/state-file.ts'
import { writeState } from '../disk/state-file.ts'
import type { Transaction } from './transaction.ts'

const MAX_MANIFEST_BYTES = 64 * 1024 * 1024

/**
 * The files that the end of a transaction needs; asked before the commit, since afterwards it is too late to refuse.
 *
 * @throws LauncherError `LA_JOURNAL`.
 */
export async function requireKept({ fs, layout }: ApplyContext, { to, isPart }: Transaction): Promise<KeptFiles> {
  const kept = await keptFiles(fs, layout, to)
  if (isPart === true) return kept
  const manifest = await readSmallFile(fs, kept.manifest, MAX_MANIFEST_BYTES)
  if (manifest !== undefined && createHash('sha256').update(manifest).digest('hex') === to.manifestSha256) return kept
  throw new LauncherError(
    'LA_JOURNAL',
    `Cannot finish the change to ${to.version}: its manifest (channel "${to.channel}", sequence ${to.sequence}) is ` +
      'not kept',
    { hint: 'Update while the server can be reached' },
  )
}

/** Copies the accepted manifest and its signatures beside the install, under the original launcher's names. */
async function copyManifest({ fs, layout }: ApplyContext, kept: KeptFiles): Promise<void> {
  for (const [source, target] of [
    [kept.signatures, layout.manifestSigs],
    [kept.legacySignature, layout.manifestSig],
    [kept.manifest, layout.manifest],
  ] as const) {
    const bytes = await readSmallFile(fs, source, MAX_MANIFEST_BYTES)
    if (bytes === undefined) await removeFile(fs, target)
    else await writeSmallFile(fs, target, bytes)
  }
}

/**
 * Brings back the manifest of the release before, after a finish that was cut off had already copied the new one.
 */
export async function restoreManifest(context: ApplyContext, { from, to, isPart }: Transaction): Promise<void> {
  const { fs, layout } = context
  if (isPart === true || from === undefined || from.manifestSha256 === to.manifestSha256) return
  const kept = await keptFiles(fs, layout, from)
  const manifest = await readSmallFile(fs, kept.manifest, MAX_MANIFEST_BYTES)
  if (manifest === undefined || createHash('sha256').update(manifest).digest('hex') !== from.manifestSha256) return
  await copyManifest(context, kept)
}

function stateAfter(transaction: Transaction, state: InstallState, at: number): InstallState {
  const { from, to, id, kind, isPart } = transaction
  if (isPart === true) return state
  const next = { ...state, installed: to, suspect: false, partial: undefined }
  if (kind === 'repair') return next
  if (kind === 'rollback') {
    const failed = from === undefined ? state.failed : [...new Set([...state.failed, from.manifestSha256])].slice(-16)
    return { ...next, failed, confirmed: true, failedStarts: 0, previous: undefined }
  }
  return {
    ...next,
    confirmed: false,
    failedStarts: 0,
    previous: from === undefined ? undefined : { release: from, transaction: id, at },
  }
}

/** Permissions have a file of their own: a launcher that does not know them would take them for files to remove. */
async function writeKept({ fs, layout }: ApplyContext, { id, steps, modes = [] }: Transaction): Promise<void> {
  const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
  await writeSmallFile(fs, join(layout.backup, id, 'steps.json'), encode(steps))
  if (modes.length > 0) await writeSmallFile(fs, join(layout.backup, id, 'modes.json'), encode(modes))
}

/**
 * Writes down that the transaction is done (C9) and takes it away (C10): manifest, then state, then the journal.
 * Repeating it is harmless.
 */
export async function finalize(
  context: ApplyContext,
  transaction: Transaction,
  state: InstallState,
  at: number,
): Promise<InstallState> {
  const { fs, layout } = context
  if (transaction.isPart !== true) await copyManifest(context, await requireKept(context, transaction))
  const removed = transaction.steps.filter(({ sha256 }) => sha256 === undefined)
  await removeEmptyFolders(
    fs,
    layout,
    removed.map(({ path }) => path),
  )
  const after = stateAfter(transaction, state, at)
  // What a rollback would need: which step each kept file belongs to.
  if (after.previous?.transaction === transaction.id) {
    await writeKept(context, transaction)
  }
  if (after !== state) await writeState(fs, layout, after)
  await removeFile(fs, layout.transaction)
  await syncFolders(fs, [layout.updates])
  return after
}
