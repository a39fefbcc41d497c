import { join } from 'node:path'
import { parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { readIfThere } from './store.ts'

const MARK = 'backup.json'

/** Notes that a backup of the home was made and read back. */
export async function markBackup(folder: string, nowMs: number): Promise<void> {
  const text = `${JSON.stringify({ format: 'keyturn-backup-made', version: 1, at: new Date(nowMs).toISOString() })}\n`
  await writeFileAtomic(join(folder, MARK), utf8Encode(text), { mode: 0o600 })
}

/** When the last backup was made, milliseconds since the epoch; undefined when none was, or it is not known. */
export async function readBackupMark(folder: string): Promise<number | undefined> {
  const bytes = await readIfThere(join(folder, MARK))
  if (bytes === undefined) return undefined
  const value = parseStrictJson(bytes, { maxBytes: 65_536 })
  const at = typeof value === 'object' && value !== null && !Array.isArray(value) ? value['at'] : undefined
  const atMs = typeof at === 'string' ? Date.parse(at) : Number.NaN
  return Number.isNaN(atMs) ? undefined : atMs
}
