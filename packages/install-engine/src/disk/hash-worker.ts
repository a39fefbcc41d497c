import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'

/** Hashes whole files with its own blocking I/O; one message per batch, results in the order of the paths. */
const buffer = Buffer.allocUnsafe(1024 * 1024)

function hash(
  path: string,
): { sha256: string; identity: { size: number; mtimeNs: bigint; ctimeNs: bigint; inode: bigint } } | { error: string } {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const stats = fstatSync(file, { bigint: true })
    const digest = createHash('sha256')
    for (
      let count = readSync(file, buffer, 0, buffer.length, null);
      count > 0;
      count = readSync(file, buffer, 0, buffer.length, null)
    ) {
      digest.update(buffer.subarray(0, count))
    }
    return {
      sha256: digest.digest('hex'),
      identity: { size: Number(stats.size), mtimeNs: stats.mtimeNs, ctimeNs: stats.ctimeNs, inode: stats.ino },
    }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

parentPort?.on('message', (paths: readonly string[]) => parentPort?.postMessage(paths.map(hash)))
