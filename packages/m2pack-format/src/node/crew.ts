import { availableParallelism } from 'node:os'
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { zstd } from '#zstd'
import { revivedError } from './share.ts'
import type { Answer, Share, StopFlag } from './share.ts'
import type { Job } from './worker.ts'

/** The file of the worker: this module's own kind, source or build. */
const workerUrl = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

/** More threads than this wait for each other. */
const MAX_JOBS = 64
/** Time the main thread leaves to others when it has to wait for them. */
const BLOCKED_MS = 1
/** How often the main thread listens while others finish. */
const LISTEN_MS = 50

/** As many threads as the machine has cores, within the limit. */
export function defaultJobs(cores: number = availableParallelism()): number {
  return Math.min(MAX_JOBS, cores)
}

/**
 * Threads for one operation, or for several, one after the other: workers, started at once so that they load while the
 * folder is walked, and the main one.
 */
export class Crew {
  readonly #workers: Worker[] = []
  #isBroken = false

  /** @param jobs - Threads in all, the main one included; 1 to 64, default as many as the machine has cores. */
  constructor(jobs: number = defaultJobs()) {
    if (!Number.isInteger(jobs) || jobs < 1 || jobs > MAX_JOBS)
      throw new RangeError(`jobs must be an integer from 1 to ${MAX_JOBS}`)
    const broken = (): void => {
      this.#isBroken = true
    }
    for (let index = 1; index < jobs; index++) {
      const worker = new Worker(workerUrl, { stdin: false })
      worker.on('error', broken).on('exit', broken)
      worker.unref()
      this.#workers.push(worker)
    }
  }

  /** Threads in all. */
  get size(): number {
    return this.#workers.length + 1
  }

  /**
   * Does a job on all threads.
   *
   * @param job - What the workers get; its arrays are shared memory.
   * @param share - The main thread's share of it.
   * @param stop - Set when anything fails, so that all threads end.
   * @param betweenTurns - Called often; may throw to give up.
   * @returns The result of each thread.
   */
  async run<Result>(job: Job, share: Share<Result>, stop: StopFlag, betweenTurns: () => void): Promise<Result[]> {
    // A worker that ended answers no more.
    if (this.#isBroken) throw new Error('A worker thread ended early')
    const answers = this.#workers.map((worker) => ask(worker, job))
    const others = Promise.all(answers)
    others.catch(() => Atomics.store(stop, 0, 1))
    try {
      await zstd.ready()
      for (let turn = share.turn(); turn !== 'done' && Atomics.load(stop, 0) === 0; turn = share.turn()) {
        if (turn === 'blocked') await new Promise((resolve) => setTimeout(resolve, BLOCKED_MS))
        else await setImmediate()
        betweenTurns()
      }
      const results = (await meanwhile(others, betweenTurns)) as Result[]
      return [share.result(), ...results]
    } catch (error) {
      Atomics.store(stop, 0, 1)
      await Promise.allSettled(answers)
      throw error
    } finally {
      share.close()
    }
  }

  /** Ends the workers. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}

/** Waits for the other threads, and goes on listening meanwhile. */
async function meanwhile<Value>(others: Promise<Value>, betweenTurns: () => void): Promise<Value> {
  for (;;) {
    let timer: NodeJS.Timeout | undefined
    const turn = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), LISTEN_MS)
    })
    try {
      const settled = await Promise.race([others.then((value) => ({ value })), turn])
      betweenTurns()
      if (settled !== undefined) return settled.value
    } finally {
      clearTimeout(timer)
    }
  }
}

async function ask(worker: Worker, job: Job): Promise<unknown> {
  const listening = new AbortController()
  try {
    const answer = await new Promise<Answer>((resolve, reject) => {
      const { signal } = listening
      const listen = (event: string, heard: (value: unknown) => void): void => {
        worker.on(event, heard)
        signal.addEventListener('abort', () => worker.off(event, heard))
      }
      worker.ref()
      listen('message', (value) => resolve(value as Answer))
      listen('error', reject)
      listen('exit', () => reject(new Error('A worker thread ended early')))
      worker.postMessage(job)
    })
    if ('error' in answer) throw revivedError(answer.error)
    return answer.result
  } finally {
    listening.abort()
    worker.unref()
  }
}
