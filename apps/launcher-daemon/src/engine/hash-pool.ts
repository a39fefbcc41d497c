import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { LauncherError } from '../errors.ts'
import type { FileIdentity } from './disk.ts'

/** What a worker says of one file. */
export interface HashedFile { readonly sha256: string; readonly identity: FileIdentity }

/** Less than this is hashed on the main thread: starting workers takes longer. */
export const poolThresholdBytes = 64 * 1024 * 1024
const batchBytes = 8 * 1024 * 1024
const batchFiles = 64

function* batches(files: readonly { readonly path: string; readonly size: number }[]): Generator<{ path: string; size: number }[]> {
  let batch: { path: string; size: number }[] = []
  let bytes = 0
  for (const file of files) {
    batch.push(file)
    bytes += file.size
    if (batch.length < batchFiles && bytes < batchBytes) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

type Answer = readonly (HashedFile | { readonly error: string })[]

async function ask(worker: Worker, paths: readonly string[]): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.postMessage(paths)
  })
}

/**
 * Hashes many files of the real disk on every core; a worker does a whole file with its own I/O.
 *
 * @param onHashed - Called for each file as it is done.
 */
export async function hashOnAllCores(
  files: readonly { readonly path: string; readonly size: number }[],
  onHashed: (path: string, hashed: HashedFile) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = new URL(import.meta.url.endsWith('.ts') ? './hash-worker.ts' : './hash-worker.js', import.meta.url)
  const queue = batches(files)
  const lane = async (): Promise<void> => {
    const worker = new Worker(source, { resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 } })
    try {
      for (let next = queue.next(); next.done !== true; next = queue.next()) {
        signal?.throwIfAborted()
        const batch = next.value
        const answer = await ask(worker, batch.map(({ path }) => path))
        for (const [index, hashed] of answer.entries()) {
          const path = (batch[index] as { path: string }).path
          if ('error' in hashed) throw new LauncherError('LA_IO', `Cannot read "${path}": ${hashed.error}`, { details: { path } })
          onHashed(path, hashed)
        }
      }
    } finally {
      await worker.terminate()
    }
  }
  const results = await Promise.allSettled(Array.from({ length: availableParallelism() }, lane))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}
