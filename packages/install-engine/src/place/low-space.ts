import { join } from 'node:path'
import type { ManifestFile } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import { LauncherError } from '../errors.ts'
import { commit } from './commit.ts'
import { listFolder } from '../disk/disk.ts'
import type { DownloadContext } from '../fetch/download.ts'
import { finalize } from './finalize.ts'
import type { Plan, PlannedWrite } from './plan.ts'
import { alreadyStaged, freeBytes, lowSpaceOrder, RESERVE_BYTES } from './preflight.ts'
import type { Session } from '../session.ts'
import { planFetch, stageAll } from './stage.ts'
import { writeState } from '../disk/state-file.ts'
import type { InstallState, ReleaseRef } from '../disk/state-file.ts'
import { leavingFirst, removalStep } from './transaction.ts'
import type { Transaction, TransactionStep } from './transaction.ts'

/** What a low-space update works with. */
export interface LowSpaceRun {
  readonly session: Session
  readonly context: DownloadContext
  readonly release: ReleaseRef
  readonly state: InstallState
  readonly plan: Plan
  readonly installed: readonly ManifestFile[]
}

/**
 * Brings the folder to a release in many small transactions, for a disk that cannot hold old and new together: as many
 * files as fit are fetched, swapped, and what they replace is given up at once. Each transaction is whole or not at all
 * as ever, but in between the install is a mixture: `state.json` says so before the first of them, and nothing can be
 * played before the last. Afterwards there is no release to go back to.
 */
export async function bringInParts(run: LowSpaceRun): Promise<InstallState> {
  const { session, release, plan } = run
  const { fs } = session.options
  const state: InstallState = { ...run.state, partial: release, previous: undefined }
  await writeState(fs, session.layout, state)
  session.emit({
    type: 'notice',
    code: 'LA_UNFINISHED',
    message:
      'The disk has no room for the old and the new release together: the update goes file by file, and the client ' +
      'cannot be played until it is finished',
  })
  // Going on, staging holds what came of the next part; else what was fetched while there seemed to be room.
  await giveUp(
    session,
    run.state.partial?.manifestSha256 === release.manifestSha256
      ? [session.layout.backup]
      : [session.layout.backup, session.layout.staging],
  )
  const { sources, others } = splitRemovals(run)
  if (others.length + plan.asides.length > 0)
    await applyPart(run, state, { writes: [], removals: others, asides: plan.asides })
  const left = lowSpaceOrder(plan.writes)
  while (left.length > 0)
    await applyPart(run, state, { writes: await takeWhatFits(session, left), removals: [], asides: [] })
  if (sources.length > 0) await applyPart(run, state, { writes: [], removals: sources, asides: [] })
  const last: Transaction = {
    id: hexEncode(session.options.random(8)),
    kind: 'update',
    from: undefined,
    to: release,
    steps: [],
    modes: plan.modes,
  }
  await commit(session, last, undefined)
  session.enter('finalize')
  return await finalize(session.apply, last, state, session.options.clock())
}

/**
 * What goes last, since new files are copied from it, and what goes first; so does whatever new files need the place
 * of.
 */
function splitRemovals({ plan, installed }: LowSpaceRun): { sources: string[]; others: string[] } {
  const wanted = new Set(plan.writes.map(({ file }) => file.sha256))
  const isSource = new Set(installed.filter(({ sha256 }) => wanted.has(sha256)).map(({ path }) => path))
  const arriving = [...plan.writes.map(({ file }) => file.path), ...plan.asides.map(({ path }) => path)]
  const isFirst = new Set(leavingFirst(plan.removals, arriving))
  const sources = plan.removals.filter((path) => isSource.has(path) && !isFirst.has(path))
  const isLast = new Set(sources)
  return { sources, others: plan.removals.filter((path) => !isLast.has(path)) }
}

async function giveUp({ options: { fs } }: Session, folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    for (const name of await listFolder(fs, folder)) await fs.rm(join(folder, name), { recursive: true, force: true })
  }
}

async function takeWhatFits(session: Session, left: PlannedWrite[]): Promise<PlannedWrite[]> {
  const {
    options: { fs },
    layout,
  } = session
  const room =
    (await freeBytes(fs, layout)) +
    (await alreadyStaged(fs, layout, new Set(left.map(({ file }) => file.sha256)))) -
    RESERVE_BYTES
  const taken: PlannedWrite[] = []
  for (let bytes = 0; left[0] !== undefined && bytes + left[0].file.size <= room;) {
    bytes += left[0].file.size
    taken.push(left.shift() as PlannedWrite)
  }
  if (taken.length > 0) return taken
  const needed = (left[0] as PlannedWrite).file.size + RESERVE_BYTES
  throw new LauncherError(
    'LA_DISK_FULL',
    `Cannot go on: ${needed} bytes are needed for the next file, ${room + RESERVE_BYTES} are free`,
    {
      details: { needed, free: room + RESERVE_BYTES, missing: needed - room - RESERVE_BYTES },
      hint: 'Free as much and update again: the install cannot be played before that',
    },
  )
}

async function applyPart(
  run: LowSpaceRun,
  state: InstallState,
  { writes, removals, asides }: Pick<Plan, 'writes' | 'removals' | 'asides'>,
): Promise<void> {
  const { session, context, release, installed } = run
  const part: Plan = { ...run.plan, writes, removals: [], kept: [] }
  // What moves is copied from its old place, which the last part removes.
  context.signal.throwIfAborted()
  session.enter('fetch')
  const fetchPlan = await planFetch(context, session.layout, { ...part, removals: run.plan.removals }, installed)
  const staged = await stageAll(context, session.layout, part, fetchPlan)
  session.enter('stage')
  context.signal.throwIfAborted()
  const steps: TransactionStep[] = [...staged.steps]
  for (const path of removals) steps.push(removalStep(path, run.plan.leaving))
  const transaction: Transaction = {
    id: hexEncode(session.options.random(8)),
    kind: 'update',
    from: state.installed,
    to: release,
    isPart: true,
    steps,
    asides: asides.map(({ path, to }) => ({ path, to })),
  }
  await commit(session, transaction, staged)
  session.enter('finalize')
  await finalize(session.apply, transaction, state, session.options.clock())
  await giveUp(session, [session.layout.backup, session.layout.staging])
}
