import { KeyturnError } from '@keyturn/primitives'
import { onDisk } from '@keyturn/primitives/node'

/**
 * Runs a call to the disk and whatever it calls in turn: failures of the system get a name (`PRIM_FILE`,
 * `PRIM_DISK_FULL`, `PRIM_EXISTS`), errors that have one already pass as they are.
 */
export async function disk<Result>(what: string, path: string, call: () => Promise<Result>): Promise<Result> {
  const outcome = await onDisk(what, path, async () => {
    try {
      return { value: await call() }
    } catch (error) {
      if (error instanceof KeyturnError) return { error }
      throw error
    }
  })
  if ('error' in outcome) throw outcome.error
  return outcome.value
}
