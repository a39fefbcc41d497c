import { printable } from '@keyturn/primitives'
import { toKeyturnError } from './errors.ts'

/** What has to be closed, wiped or removed when a command is over. */
export type CleanUp = () => void | Promise<void>

/**
 * Runs all of them, last registered first. One that fails keeps none of the others from running, and does not change
 * what the command answered: its work is done by then, so it is a warning.
 *
 * @param cleanUps - In the order they were registered.
 * @param warn - Tells of each one that failed.
 */
export async function runCleanUps(cleanUps: readonly CleanUp[], warn: (text: string) => void): Promise<void> {
  for (const cleanUp of cleanUps.toReversed()) {
    try {
      await cleanUp()
    } catch (thrown) {
      const { code, message } = toKeyturnError(thrown)
      warn(`Cleaning up after the command failed: ${printable(message)} (${code})`)
    }
  }
}
