import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findModeProblems } from '../src/node/index.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-modes-'))
  await mkdir(join(folder, 'sub'))
  await writeFile(join(folder, 'key'), 'secret', { mode: 0o600 })
  await writeFile(join(folder, 'sub', 'page'), 'public', { mode: 0o644 })
  await symlink('/nowhere', join(folder, 'link'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

const find = (): ReturnType<typeof findModeProblems> =>
  findModeProblems(folder, { isSecret: (path) => path === '' || path === 'key', isLeftOut: (path) => path === 'out' })

describe.skipIf(process.platform === 'win32')('findModeProblems()', () => {
  it('finds nothing in a folder as it should be, and follows no link', async () => {
    expect(await find()).toEqual([])
  })

  it('finds what others may read of secrets, and may change of the rest', async () => {
    await chmod(join(folder, 'key'), 0o640)
    await chmod(join(folder, 'sub', 'page'), 0o646)
    await writeFile(join(folder, 'out'), '')
    await chmod(join(folder, 'out'), 0o666)
    expect(await find()).toMatchObject([
      { path: join(folder, 'key'), problem: 'open', mode: 0o640, fix: `chmod go-rwx '${join(folder, 'key')}'` },
      { path: join(folder, 'sub', 'page'), problem: 'open', fix: `chmod o-w '${join(folder, 'sub', 'page')}'` },
    ])
    await chmod(folder, 0o755)
    expect((await find())[0]).toMatchObject({ path: folder, problem: 'open' })
  })

  it('finds what its owner cannot read, and folders that take nothing new', async () => {
    await chmod(join(folder, 'key'), 0o000)
    expect(await find()).toMatchObject([{ problem: 'unreadable', fix: `chmod u+rw '${join(folder, 'key')}'` }])
    await chmod(join(folder, 'key'), 0o400)
    expect(await find()).toEqual([])
    await chmod(join(folder, 'sub'), 0o500)
    expect(await find()).toMatchObject([{ problem: 'unreadable', fix: `chmod u+rwx '${join(folder, 'sub')}'` }])
  })

  it.skipIf(process.getuid?.() !== 0)('finds what belongs to another user', async () => {
    await chown(join(folder, 'key'), 4711, 4711)
    expect(await find()).toMatchObject([{ problem: 'owner', fix: `chown 0 '${join(folder, 'key')}'` }])
  })
})
