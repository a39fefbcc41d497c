import { hexEncode, sha256 } from '@keyturn/primitives'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { zstd as accelerated } from '../src/node/zstd-accelerated.ts'
import { zstd as portable } from '../src/zstd-portable.ts'
import { checkZstdFrame } from '../src/zstd-frame.ts'
import { M2pError } from '../src/index.ts'
import { noise, temporaryFolder, variedFiles, writeTree } from './support/tree.ts'

const dist = fileURLToPath(new URL('../dist/node/index.js', import.meta.url))
const golden = fileURLToPath(new URL('../../../../shared/vectors/zstd/', import.meta.url))

describe('portable and accelerated paths', () => {
  it.each([1, 2])(
    'build the same bytes of version %i: pure JavaScript cryptography against the accelerated one',
    (version) => {
      const root = temporaryFolder()
      writeTree(join(root, 'tree'), variedFiles())
      const script = join(root, 'build.mjs')
      writeFileSync(
        script,
        `
      import { buildFolder, verifyArchiveFile } from ${JSON.stringify(dist)}
      const contentKey = { keyId: 1, key: new Uint8Array(32).fill(2) }
      const [output, jobs] = process.argv.slice(2)
      await buildFolder(${JSON.stringify(join(root, 'tree'))}, output, { contentKey, signingSeed: new Uint8Array(32).fill(1), version: ${version}, level: 3, segmentSize: 65536, jobs: Number(jobs) })
    `,
      )
      const digests = new Set<string>()
      for (const [name, backend, jobs] of [
        ['a', '', '1'],
        ['b', 'portable', '1'],
        ['c', 'portable', '2'],
      ] as const) {
        const output = join(root, `${name}.m2p`)
        execFileSync(process.execPath, [script, output, jobs], {
          env: { ...process.env, ...(backend === '' ? {} : { KEYTURN_BACKEND: backend }) },
        })
        digests.add(hexEncode(sha256(readFileSync(output))))
      }
      expect(digests.size).toBe(1)
    },
  )

  it("decompress each other's frames", async () => {
    await portable.ready()
    for (const size of [1, 64, 1000, 70_000]) {
      for (const plain of [noise('zstd', size), new Uint8Array(size).map((_, index) => index >> 5)]) {
        for (const [from, to] of [
          [accelerated, portable],
          [portable, accelerated],
        ] as const) {
          const frame = from.compress(plain, 12)
          checkZstdFrame(frame, size)
          expect(Buffer.compare(to.decompress(frame, size), plain)).toBe(0)
        }
      }
    }
  })
})

describe.skipIf(!readable(golden))('the golden files of zstd', () => {
  const names = (folder: string): string[] => (readable(golden) ? readdirSync(join(golden, folder)) : [])

  it('4 valid ones decompress or are refused for their form, 3 invalid ones are refused (row 31)', async () => {
    await portable.ready()
    let bad = 0
    for (const name of names('golden-decompression-errors')) {
      const frame = new Uint8Array(readFileSync(join(golden, 'golden-decompression-errors', name)))
      for (const codec of [accelerated, portable]) {
        const outcome = attempt(() => {
          const size = contentSize(frame)
          checkZstdFrame(frame, size)
          codec.decompress(frame, size)
        })
        expect(outcome, name).toBe('refused')
      }
      bad++
    }
    expect(bad).toBe(3)
    expect(names('golden-decompression').length).toBe(4)
  })

  it('4 inputs that once broke the encoder come back', () => {
    let count = 0
    for (const name of names('golden-compression')) {
      const plain = new Uint8Array(readFileSync(join(golden, 'golden-compression', name)))
      for (const level of [1, 3, 12, 19]) {
        const frame = accelerated.compress(plain, level)
        checkZstdFrame(frame, plain.length)
        expect(Buffer.compare(accelerated.decompress(frame, plain.length), plain)).toBe(0)
      }
      count++
    }
    expect(count).toBe(4)
  })
})

function readable(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0
  } catch {
    console.info('skipped: the golden files of zstd are not here')
    return false
  }
}

function attempt(run: () => void): string {
  try {
    run()
    return 'accepted'
  } catch {
    return 'refused'
  }
}

/** What the frame says about its size; a guess where it says nothing, which the check then refuses. */
function contentSize(frame: Uint8Array): number {
  for (const size of [0, 1, 64, 131_068]) {
    try {
      checkZstdFrame(frame, size)
      return size
    } catch (error) {
      const found = error instanceof M2pError ? /holds (\d+) bytes/.exec(error.message)?.[1] : undefined
      if (found !== undefined) return Number(found)
    }
  }
  return 0
}
