import { execFileSync } from 'node:child_process'
import { chown, lchown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findProject } from '../src/project/project.ts'

const NOBODY = 65_534
const content = JSON.stringify({ schema: 1, product: 'game' })

let folder: string
let below: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-project-'))
  below = join(folder, 'a', 'b')
  await mkdir(below, { recursive: true })
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe.skipIf(process.platform === 'win32')('a project file that is found, not named', () => {
  it('is read from a folder above, by way of an own link too', async () => {
    await writeFile(join(folder, 'real.json'), content)
    await symlink(join(folder, 'real.json'), join(folder, 'keyturn.json'))
    expect(await findProject(below)).toMatchObject({ product: 'game' })
  })

  it('is never a pipe, which nobody would end: PRJ_FORMAT', { timeout: 20_000 }, async () => {
    execFileSync('mkfifo', [join(folder, 'keyturn.json')])
    await expect(findProject(below)).rejects.toMatchObject({ code: 'PRJ_FORMAT' })
  })

  it.skipIf(process.getuid?.() !== 0)('is not somebody else’s, not even to be parsed: PRJ_FORMAT', async () => {
    const path = join(folder, 'keyturn.json')
    await writeFile(path, 'not even JSON')
    await chown(path, NOBODY, NOBODY)
    const refusal = { code: 'PRJ_FORMAT', message: expect.stringContaining('belongs to another user') }
    await expect(findProject(below)).rejects.toMatchObject(refusal)
    await rm(path)
    await writeFile(join(folder, 'mine.json'), content)
    await symlink(join(folder, 'mine.json'), path)
    await lchown(path, NOBODY, NOBODY)
    await expect(findProject(below)).rejects.toMatchObject(refusal)
  })
})
