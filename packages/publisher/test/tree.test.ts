import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { hashFile } from '../src/tree/tree.ts'
import { testSign } from '../src/rotation/promised-keys.ts'
import type { Keys } from '../src/keys.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-tree-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

it.each([
  ['longer', 3],
  ['shorter', 9],
])(
  'a file that is %s than when it was listed is not hashed as if nothing had happened (BUILD_INPUT_CHANGED)',
  async (_case, size) => {
    const source = join(folder, 'a.txt')
    await writeFile(source, 'words')
    const { signal } = new AbortController()
    const file = { path: 'a.txt', source, executable: false }
    await expect(hashFile({ ...file, size }, signal)).rejects.toMatchObject({ code: 'BUILD_INPUT_CHANGED' })
    expect(await hashFile({ ...file, size: 5 }, signal)).toMatch(/^[0-9a-f]{64}$/)
  },
)

it('a key that does not sign as its public key says is noticed before it is relied on (CLI_INTERNAL)', async () => {
  const documentSigner = (): Promise<unknown> => Promise.resolve({ sign: () => Promise.resolve(new Uint8Array(64)) })
  const keys = { documentSigner } as Partial<Keys> as Keys
  await expect(testSign(keys, 'release/1', new Uint8Array(32).fill(1))).rejects.toMatchObject({ code: 'CLI_INTERNAL' })
})
