import { createHash } from 'node:crypto'

/** Bytes that look random and are the same in every run. */
export function randomBytesOf(seed: string, size: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(size / 32) }, (_, at) =>
    createHash('sha256').update(`${seed} ${at}`).digest(),
  )
  return Buffer.concat(blocks).subarray(0, size)
}
