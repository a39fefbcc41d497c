import { basename, dirname, join } from 'node:path'
import { listFolder, placeInside, removeFile } from '../disk/disk.ts'
import { FolderGuard } from '../disk/folder-guard.ts'
import { stagedPlace } from './apply.ts'
import type { ApplyContext } from './apply.ts'
import { HALF_COPY } from './move.ts'
import { backupPlace } from './transaction.ts'
import type { Transaction } from './transaction.ts'

/** Removes the copies that a launcher which was killed had begun, beside every place of its transaction. */
export async function removeHalfCopies(
  { fs, layout, linkedFolders }: ApplyContext,
  transaction: Transaction,
): Promise<void> {
  const guard = new FolderGuard(layout.root, fs, linkedFolders)
  const names = new Map<string, Set<string>>()
  const expect = (place: string): void => {
    const known = names.get(dirname(place)) ?? new Set()
    names.set(dirname(place), known.add(basename(place)))
  }
  for (const [index, step] of transaction.steps.entries()) {
    expect(backupPlace(layout, transaction, index))
    if (step.staged !== undefined) expect(stagedPlace(layout, step))
    if (await guard.parentsAreReal(step.path)) expect(placeInside(layout.root, step.path))
  }
  for (const [folder, known] of names)
    for (const name of await listFolder(fs, folder))
      if (known.has(HALF_COPY.exec(name)?.[1] ?? '')) await removeFile(fs, join(folder, name))
}
