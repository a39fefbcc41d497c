import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PublisherError } from '../errors.ts'

/** What a rotation of an identity writes at most, with room to spare: keystores, the log, documents, its journal. */
const NEEDED_BYTES = 4 * 1024 * 1024

/**
 * Checks that the disks a rotation writes to have room for it.
 *
 * @param files - One file on each.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`.
 */
export async function requireRoom(files: readonly string[]): Promise<void> {
  for (const folder of new Set(files.map((file) => dirname(file)))) {
    const stats = await statfs(folder).catch(() => undefined)
    if (stats === undefined || stats.bavail * stats.bsize >= NEEDED_BYTES) continue
    throw new PublisherError('CLI_TURN_UNREADY', `The disk of "${folder}" is full`, {
      hint: 'Nothing was changed. Free a few megabytes there, and run the command again',
    })
  }
}
