import { parentPort } from 'node:worker_threads'
import { zstd } from '#zstd'
import type { BuildJob } from './build-job.ts'
import { BuildShare } from './build-share.ts'
import { plainError } from './share.ts'
import type { Answer, Share } from './share.ts'
import { OpenShare } from './open-share.ts'
import type { OpenJob } from './open-share.ts'

/** A job that a worker can take part in. */
export type Job = OpenJob | BuildJob

const BLOCKED_MS = 1
const sleeper = new Int32Array(new SharedArrayBuffer(4))

function work(job: Job): unknown {
  const share: Share<unknown> = job.kind === 'open' ? new OpenShare(job) : new BuildShare(job)
  try {
    for (let turn = share.turn(); turn !== 'done' && Atomics.load(job.stop, 0) === 0; turn = share.turn()) {
      if (turn === 'blocked') Atomics.wait(sleeper, 0, 0, BLOCKED_MS)
    }
    return share.result()
  } finally {
    share.close()
  }
}

parentPort?.on('message', async (job: Job) => {
  let answer: Answer
  try {
    await zstd.ready()
    answer = { result: work(job) }
  } catch (error) {
    Atomics.store(job.stop, 0, 1)
    answer = { error: plainError(error) }
  }
  parentPort?.postMessage(answer)
})
