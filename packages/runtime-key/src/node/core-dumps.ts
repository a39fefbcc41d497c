import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/** What {@link suppressCoreDumps} managed to do. */
export interface CoreDumpResult {
  /** No memory goes into a core file of this process or of any child started later. */
  readonly filtered: boolean
  /** No core file is written at all. */
  readonly limited: boolean
}

/**
 * Keeps keys out of core files, for this process and all children started afterwards (both settings are inherited).
 * Call it before the first key is read. Best effort: what the platform lacks is reported, not thrown.
 */
export async function suppressCoreDumps(): Promise<CoreDumpResult> {
  const filtered = await succeeds(writeFile('/proc/self/coredump_filter', '0'))
  const limited = await succeeds(promisify(execFile)('prlimit', ['--core=0:0', '--pid', String(process.pid)]))
  return { filtered, limited }
}

async function succeeds(work: Promise<unknown>): Promise<boolean> {
  try {
    await work
    return true
  } catch {
    return false
  }
}
