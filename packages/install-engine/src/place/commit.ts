import { LauncherError } from '../errors.ts'
import { prepareBackup, swap } from './apply.ts'
import type { AppliedChange } from './apply.ts'
import { rollBack } from './undo.ts'
import { runningClient } from '../disk/client-process.ts'
import { removeFile, syncFolders } from '../disk/disk.ts'
import { requireKept } from './finalize.ts'
import type { Session } from '../session.ts'
import type { Staged } from './stage.ts'
import { asideNotice, writeTransaction } from './transaction.ts'
import type { Transaction } from './transaction.ts'

/** Commit and swap; whatever cannot be put in place is undone. */
export async function commit(
  session: Session,
  transaction: Transaction,
  staged: Pick<Staged, 'verified'> | undefined,
): Promise<void> {
  const { fs } = session.options
  const client = await runningClient(fs, session.layout)
  if (client !== undefined && transaction.steps.length > 0) {
    throw new LauncherError('LA_LOCKED', `Cannot put the update in place: the client is running (process ${client})`, {
      details: { pid: client },
      hint: 'Close the client; the download is kept',
    })
  }
  const context = {
    ...session.apply,
    verified: staged?.verified,
    onChange: ({ path, action, to = '' }: AppliedChange) =>
      session.emit(action === 'set-aside' ? asideNotice({ path, to }) : { type: 'file', path, action }),
  }
  session.enter('commit')
  await requireKept(context, transaction)
  await prepareBackup(context, transaction)
  await writeTransaction(fs, session.layout.transaction, transaction)
  session.enter('swap')
  try {
    await swap(context, transaction)
    session.enter('prune')
  } catch (error) {
    await undo(session, transaction)
    throw error
  }
}

async function undo(session: Session, transaction: Transaction): Promise<void> {
  const { fs } = session.options
  const onChange = ({ path, action, to = '' }: AppliedChange): void => {
    if (action === 'set-aside') session.emit(asideNotice({ path, to }))
  }
  const lost = await rollBack({ ...session.apply, onChange }, transaction)
  if (lost.length > 0) return // the journal stays: the next start tries again, forward or back
  await removeFile(fs, session.layout.transaction)
  await syncFolders(fs, [session.layout.updates])
}
