import { mkdir, mkdtemp, readFile, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fileBlob } from '../src/server/file-blob.ts'
import { copyTreeFile, hashFile, listTree } from '../src/tree/tree.ts'
import type { TreeFile } from '../src/tree/tree.ts'

const signal = new AbortController().signal
let folder = ''
const at = (...parts: string[]): string => join(folder, ...parts)

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'keyturn-swap-')))
  for (const name of ['tree/data', 'secrets']) await mkdir(at(name), { recursive: true })
  await writeFile(at('tree/data/id_key'), 'harmless')
  await writeFile(at('secrets/id_key'), 'a secret')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Every way in which the bytes of a listed file leave the machine or reach a release. */
const READERS: readonly [string, (file: TreeFile) => Promise<unknown>][] = [
  ['hashing', (file) => hashFile(file, signal)],
  ['copying', (file) => copyTreeFile(file, at('copy'))],
  ['uploading', (file) => fileBlob(at('tree'), { path: file.path, sha256: '', size: file.size }).read(0, file.size)],
]

describe.skipIf(process.platform === 'win32').each(READERS)('%s a file of a tree after it was listed', (_, read) => {
  const changed = { code: 'BUILD_INPUT_CHANGED' }

  it('reads nothing elsewhere when its folder was swapped for a link, or itself (row 52)', async () => {
    const [file] = (await listTree(at('tree'))) as [TreeFile]
    await rename(at('tree/data'), at('tree/aside'))
    await symlink(at('secrets'), at('tree/data'))
    await expect(read(file)).rejects.toMatchObject(changed)
    await expect(readFile(at('copy'))).rejects.toMatchObject({ code: 'ENOENT' })
    await rm(at('tree/data'))
    await rename(at('tree/aside'), at('tree/data'))
    await read(file)
    await rm(at('tree/data/id_key'))
    await symlink(at('secrets/id_key'), at('tree/data/id_key'))
    await expect(read(file)).rejects.toMatchObject(changed)
  })

  it('follows a link that leads to the tree itself', async () => {
    await symlink(at('tree'), at('link'))
    const [file] = (await listTree(at('link'))) as [TreeFile]
    await read(file)
  })
})
