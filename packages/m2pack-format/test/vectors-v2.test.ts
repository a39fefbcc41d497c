import { concatBytes, ContentCutter, sha256 } from '@keyturn/primitives'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { loadVectorsV2 } from './support/vectors-v2.ts'

const script = fileURLToPath(new URL('vectors/m2p-v2.py', import.meta.url))
const python = spawnSync('python3', ['--version']).status === 0
if (!python) console.info('skipped: the second computation of the vectors needs python3')

const vectors = loadVectorsV2()

/** SHA-256 of u32 0, 1, 2 and so on, little-endian. */
function stream(count: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(count / 32) }, (_, at) =>
    sha256(new Uint8Array(Uint32Array.of(at).buffer)),
  )
  return concatBytes(...blocks).slice(0, count)
}

describe('vectors of version 2', () => {
  it.skipIf(!python)("are what Python's standard library computes from the specification", () => {
    const { stdout, status } = spawnSync('python3', [script], { encoding: 'utf8', maxBuffer: 1 << 24 })
    expect(status).toBe(0)
    expect(stdout).toBe(readFileSync(new URL('vectors/m2p-v2.json', import.meta.url), 'utf8'))
  })

  it('ContentCutter cuts long files where they say', () => {
    for (const { stream_bytes, segment_size, lengths } of vectors.cuts) {
      if (stream_bytes <= segment_size) continue
      const bytes = stream(stream_bytes)
      const cutter = new ContentCutter({
        minBytes: segment_size / 4,
        averageBytes: segment_size,
        maxBytes: segment_size * 4,
      })
      const found: number[] = []
      for (let at = 0; at < bytes.length; cutter.reset()) {
        const end = cutter.find(bytes, at, bytes.length)
        at = end < 0 ? bytes.length : end
        found.push(cutter.pieceBytes)
      }
      expect(found).toEqual(lengths)
    }
  })
})
