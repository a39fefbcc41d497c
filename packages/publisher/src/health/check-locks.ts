import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { KeyturnError } from '@keyturn/primitives'
import { inspectLock, lockFile, pathExists } from '@keyturn/primitives/node'
import type { HomeSession } from '../home-session.ts'

/** What one lock file says about the home. */
export interface LockFinding {
  readonly level: 'ok' | 'warning'
  readonly message: string
  /** The command that fixes it; empty when nothing is wrong. */
  readonly fix: string
}

const LOCK_FILE = /(?:^|[./\\])lock$/

/** Locks of the home that other processes hold or have left behind, and whether its disk has locks at all. */
export async function checkLocks(home: HomeSession): Promise<LockFinding[]> {
  const findings: LockFinding[] = []
  for (const path of await lockFiles(home)) {
    const { state, holder } = await inspectLock(path)
    if (state === 'free' || holder?.pid === process.pid) continue
    const who = holder === undefined ? 'a process that cannot be named' : `process ${holder.pid} on ${holder.host}`
    findings.push(
      state === 'held'
        ? { level: 'ok', message: `"${path}": ${who} holds it now`, fix: '' }
        : state === 'left-behind'
          ? { level: 'ok', message: `"${path}": ${who} left it and has ended; the next command takes it over`, fix: '' }
          : {
              level: 'warning',
              message: `"${path}": ${who} holds it, and nobody can tell from here whether that process still runs`,
              fix: `rm '${path}', once that process has ended`,
            },
    )
  }
  if ((await lockKind(home.paths.folder)) === 'process-id')
    findings.push({
      level: 'warning',
      message:
        `The disk of "${home.paths.folder}" has no locks: two machines or containers that share it can ` +
        'overrun each other',
      fix: 'move the home to a local disk',
    })
  return findings
}

async function lockFiles(home: HomeSession): Promise<string[]> {
  const { folder } = home.paths
  const names = (await readdir(folder, { recursive: true })).filter((name) => LOCK_FILE.test(name)).sort()
  const nextKey = `${home.nextKeyFile}.lock`
  const inside = names.map((name) => join(folder, name))
  return !inside.includes(nextKey) && (await pathExists(nextKey)) ? [...inside, nextKey] : inside
}

/** What a lock in this folder would be; `undefined` where none can be taken, which other checks and commands report. */
async function lockKind(folder: string): Promise<'system' | 'process-id' | undefined> {
  try {
    const lock = await lockFile(join(folder, 'doctor.lock'))
    await lock.release()
    return lock.kind
  } catch (error) {
    if (error instanceof KeyturnError) return undefined
    throw error
  }
}
