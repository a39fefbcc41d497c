import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { LauncherError } from '../errors.ts'
import type { FileIdentity } from './disk.ts'

/** What a worker says of one file. */
export interface HashedFile {
  readonly sha256: string
  readonly identity: FileIdentity
}

/** Less than this is hashed on the main thread: starting workers takes longer. */
export const POOL_THRESHOLD_BYTES = 64 * 1024 * 1024
/** More hash no faster than a disk reads, and each takes 10 MiB. */
const MAX_WORKERS = 2
const BATCH_BYTES = 8 * 1024 * 1024
const BATCH_FILES = 64

/** A file to be hashed. */
export interface FileToHash {
  readonly path: string
  readonly size: number
}

function* batches<File extends FileToHash>(files: Iterable<File>): Generator<File[]> {
  let batch: File[] = []
  let bytes = 0
  for (const file of files) {
    batch.push(file)
    bytes += file.size
    if (batch.length < BATCH_FILES && bytes < BATCH_BYTES) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

type Answer = readonly (HashedFile | { readonly error: string })[]

async function ask(worker: Worker, paths: readonly string[]): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const settle = (done: () => void): void => {
      worker.off('message', onMessage).off('error', onError)
      done()
    }
    const onMessage = (answer: Answer): void => settle(() => resolve(answer))
    const onError = (error: Error): void => settle(() => reject(error))
    worker.on('message', onMessage).on('error', onError)
    worker.postMessage(paths)
  })
}

/**
 * Hashes many files of the real disk on two cores; a worker does a whole file with its own I/O.
 *
 * @param files - Their paths are absolute; asked for one after the other.
 * @param onHashed - Called for each file as it is done.
 */
export async function hashOnTwoCores<File extends FileToHash>(
  files: Iterable<File>,
  onHashed: (file: File, hashed: HashedFile) => void,
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
        const answer = await ask(
          worker,
          batch.map(({ path }) => path),
        )
        for (const [index, hashed] of answer.entries()) {
          const file = batch[index] as File
          if ('error' in hashed)
            throw new LauncherError('LA_IO', `Cannot read "${file.path}": ${hashed.error}`, {
              details: { path: file.path },
            })
          onHashed(file, hashed)
        }
      }
    } finally {
      await worker.terminate()
    }
  }
  const results = await Promise.allSettled(Array.from({ length: Math.min(MAX_WORKERS, availableParallelism()) }, lane))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}
