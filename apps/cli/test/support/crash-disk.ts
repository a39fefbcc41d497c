// Import this first: it wraps the calls of node:fs/promises that change the disk, before anything else takes hold of
// them. From the planned call on every one of them throws, as if the process had been killed there.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const changing = [
  'appendFile',
  'chmod',
  'copyFile',
  'link',
  'mkdir',
  'rename',
  'rm',
  'rmdir',
  'symlink',
  'truncate',
  'unlink',
  'writeFile',
] as const
const changingHandle = ['appendFile', 'datasync', 'sync', 'truncate', 'write', 'writeFile', 'writev'] as const

let plan = Number.POSITIVE_INFINITY
let count = 0
let counted: RegExp | undefined
let dead = false

/** Thrown in place of the planned call and of all that follow. */
export class Crash extends Error {
  override readonly name = 'Crash'
}

/**
 * Counts from 0; the call with this number and all later ones do not happen.
 *
 * @param call - The number.
 * @param paths - Count calls alone whose arguments name such a path.
 */
export function crashAt(call: number, paths?: RegExp): void {
  plan = call
  count = 0
  counted = paths
  dead = false
}

/** Lets everything through again; tells how many calls there were. */
export function endCrash(): number {
  plan = Number.POSITIVE_INFINITY
  dead = false
  return count
}

function wrap(target: Record<string, unknown>, names: readonly string[]): void {
  for (const name of names) {
    const real = target[name] as (...args: unknown[]) => Promise<unknown>
    target[name] = async function wrapped(this: unknown, ...args: unknown[]): Promise<unknown> {
      const counts = counted === undefined || args.some((arg) => typeof arg === 'string' && counted?.test(arg))
      if (counts && count++ >= plan) dead = true
      if (dead) throw new Crash(`${name} ${String(args[0])}`)
      return await Reflect.apply(real, this, args)
    }
  }
}

wrap(fs.promises as unknown as Record<string, unknown>, changing)
const probe = join(tmpdir(), `crash-disk-${process.pid}`)
const handle = await fs.promises.open(probe, 'w')
wrap(Object.getPrototypeOf(handle) as Record<string, unknown>, changingHandle)
await handle.close()
fs.rmSync(probe)
syncBuiltinESMExports()
