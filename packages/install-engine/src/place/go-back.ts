import { hexEncode, parseStrictJson } from '@keyturn/primitives'
import { LauncherError } from '../errors.ts'
import { hashIfFile, look, placeInside, readSmallFile } from '../disk/disk.ts'
import type { Session } from '../session.ts'
import type { InstallState } from '../disk/state-file.ts'
import { orderSteps, parseEach, parseMode } from './transaction.ts'
import type { ModeStep, Transaction, TransactionStep } from './transaction.ts'

const MAX_STEPS_BYTES = 128 * 1024 * 1024

interface KeptStep {
  readonly path: string
  readonly index: number
}

function nothingKept(why: string): LauncherError {
  return new LauncherError('LA_NO_ROLLBACK', `Cannot go back: ${why}`)
}

async function keptSteps(session: Session, transaction: string): Promise<KeptStep[]> {
  const bytes = await readSmallFile(
    session.options.fs,
    `${session.layout.backup}/${transaction}/steps.json`,
    MAX_STEPS_BYTES,
  )
  if (bytes === undefined) throw nothingKept('the files of the release before are no longer kept')
  const value: unknown = parseStrictJson(bytes, { maxBytes: MAX_STEPS_BYTES })
  if (!Array.isArray(value)) throw nothingKept('the list of kept files is damaged')
  return value.map((entry: unknown, index) => {
    if (typeof entry !== 'object' || entry === null || !('path' in entry) || typeof entry.path !== 'string')
      throw nothingKept('the list of kept files is damaged')
    return { path: entry.path, index }
  })
}

async function keptModes(session: Session, transaction: string): Promise<readonly ModeStep[]> {
  const path = `${session.layout.backup}/${transaction}/modes.json`
  const bytes = await readSmallFile(session.options.fs, path, MAX_STEPS_BYTES)
  const modes = bytes === undefined ? [] : parseEach(parseStrictJson(bytes, { maxBytes: MAX_STEPS_BYTES }), parseMode)
  if (modes === undefined) throw nothingKept('the list of kept files is damaged')
  return modes.map(({ path, mode, oldMode }) => ({ path, mode: oldMode, oldMode: mode }))
}

/**
 * The transaction that brings the release before back from its kept files. Floors stay as they are: this is a choice
 * of this machine, not of a server.
 *
 * @throws LauncherError `LA_NO_ROLLBACK`.
 */
export async function rollbackTransaction(session: Session, state: InstallState): Promise<Transaction> {
  const { fs, random } = session.options
  const { previous, installed } = state
  if (previous === undefined || installed === undefined) throw nothingKept('no release before this one is kept')
  const steps: TransactionStep[] = []
  for (const { path, index } of await keptSteps(session, previous.transaction)) {
    const staged = `backup/${previous.transaction}/${index}`
    const sha256 = await hashIfFile(fs, `${session.layout.updates}/${staged}`)
    const existed = (await look(fs, placeInside(session.layout.root, path))).kind !== 'nothing'
    if (sha256 !== undefined) steps.push({ path, existed, sha256, staged })
    else if (existed) steps.push({ path, existed, sha256: undefined, staged: undefined })
  }
  // A file that the way back removes has none in its place when the one of the other spelling arrives.
  const order = orderSteps(steps)
  return {
    id: hexEncode(random(8)),
    kind: 'rollback',
    from: installed,
    to: previous.release,
    steps: steps.map((step, index) => (order.successors.has(index) ? { ...step, existed: false } : step)),
    modes: await keptModes(session, previous.transaction),
  }
}
