/** Disks that take nothing more: full ones and read-only ones, by a seam and, where they can be made, for real. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lockFile, nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import { engineFor, expectedText, offline, temporaryFolder, treeText } from './support/install.ts'
import { noise, Publisher, sha256Hex } from './support/publisher.ts'

const quiet = { stdio: ['ignore', 'ignore', 'ignore'] as const }
const program = ['game.mjs']
const files = { 'game.mjs': 'process.exitCode = 0', 'data/a.bin': noise(200_000, 1), 'data/b.bin': noise(3000, 2) }

/** A disk that can be read, and to which every change is refused with a code. */
function takingNothing(code: string): FileSystem {
  const refuse = (syscall: string) => async (): Promise<never> => {
    throw Object.assign(new Error(`${code} in ${syscall}`), { code, syscall })
  }
  const open = async (path: string, flags?: string | number, mode?: number): Promise<unknown> => {
    const isRead = flags === undefined || flags === 'r' || (typeof flags === 'number' && (flags & 3) === 0)
    return isRead ? await nodeFileSystem.open(path, flags, mode) : await refuse('open')()
  }
  const changes = ['mkdir', 'rename', 'link', 'symlink', 'copyFile', 'writeFile', 'chmod', 'utimes'] as const
  return { ...nodeFileSystem, ...Object.fromEntries(changes.map((name) => [name, refuse(name)])), open } as FileSystem
}

async function installed() {
  const publisher = await Publisher.create()
  const made = await publisher.release(files)
  const { engine, folder } = await engineFor(publisher, { program })
  await engine.update()
  return { publisher, folder, engine, text: expectedText(made.files, sha256Hex) }
}

describe('a start on a disk that takes nothing more', () => {
  it.each(['ENOSPC', 'EDQUOT', 'EROFS'])('plays what is installed, online and offline: %s (row 411)', async (code) => {
    const { publisher, folder, text } = await installed()
    await publisher.release({ ...files, 'data/b.bin': noise(3000, 3) })
    for (const extra of [{}, { fetch: offline }]) {
      const { engine, events } = await engineFor(publisher, { folder, program, fs: takingNothing(code), ...extra })
      const { exited } = await engine.launch(quiet)
      expect(await exited).toBe(0)
      const codes = events.flatMap((event) => (event.type === 'notice' ? [event.code] : []))
      expect(codes).toContain(code === 'EROFS' ? 'LA_PERMISSION' : 'LA_DISK_FULL')
    }
    expect(await treeText(folder)).toBe(text)
  })

  it('starts nothing that is changed, and nothing beside a launcher that is at work (row 411)', async () => {
    const { publisher, folder } = await installed()
    const { engine } = await engineFor(publisher, { folder, program, fs: takingNothing('ENOSPC'), fetch: offline })
    const lock = await lockFile(join(folder, '.updates/lock'))
    await expect(engine.launch(quiet)).rejects.toMatchObject({ code: 'LA_LOCKED' })
    await lock.release()
    await writeFile(join(folder, '.updates/txn.json'), '{}')
    await expect(engine.launch(quiet)).rejects.toMatchObject({
      code: 'LA_DISK_FULL',
      hint: expect.stringContaining('finished or undone'),
    })
    await rename(join(folder, '.updates/txn.json'), join(folder, 'txn.json'))
    await writeFile(join(folder, 'data/b.bin'), 'other')
    await expect(engine.launch({ ...quiet, offline: true })).rejects.toMatchObject({ code: 'LA_HASH' })
  })
})

const canMount = process.platform === 'linux' && process.getuid?.() === 0

/** Runs a test while something is mounted at a place; `false` where that cannot be done. */
async function whileMounted(place: string, args: readonly string[], run: () => Promise<void>): Promise<boolean> {
  try {
    execFileSync('mount', [...args, place], { stdio: 'ignore' })
  } catch {
    return false
  }
  await run().finally(() => execFileSync('umount', ['-l', place]))
  return true
}

describe.skipIf(!canMount)('an update on a real volume', () => {
  it('that has too few bytes, then too few files, changes nothing, plays, and goes through with room (row 412)', async ({
    skip,
  }) => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const place = await temporaryFolder()
    const isDone = await whileMounted(place, ['-t', 'tmpfs', '-o', 'size=20m,nr_inodes=60', 'none'], async () => {
      const folder = join(place, 'game')
      const { engine } = await engineFor(publisher, { folder, program })
      await engine.update()
      const before = await treeText(folder)
      await publisher.release({ ...files, 'data/a.bin': noise(6_000_000, 4) })
      await expect(engine.update()).rejects.toMatchObject({ code: 'LA_DISK_FULL' })
      execFileSync('mount', ['-o', 'remount,size=60m', place])
      const many = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`more/${index}`, `${index}`]))
      const next = await publisher.release({ ...files, ...many })
      await expect(engine.update()).rejects.toMatchObject({
        code: 'LA_DISK_FULL',
        details: { files: 64 },
        hint: expect.stringContaining('Delete files'),
      })
      expect(await treeText(folder)).toBe(before)
      expect(await (await engine.launch({ ...quiet, update: false })).exited).toBe(0)
      execFileSync('mount', ['-o', 'remount,nr_inodes=1000', place])
      expect(await engine.update()).toMatchObject({ outcome: 'updated', version: next.model.version })
      expect(await treeText(folder)).toBe(expectedText(next.files, sha256Hex))
    })
    if (!isDone) skip('nothing can be mounted')
  })

  it('that is filled by somebody else in the middle keeps the old release, which plays (row 412)', async ({ skip }) => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const place = await temporaryFolder()
    const image = join(await temporaryFolder('fast'), 'image')
    await writeFile(image, '')
    await truncate(image, 32 * 1024 * 1024)
    if (!['/usr/sbin/mkfs.ext4', '/sbin/mkfs.ext4'].some((path) => existsSync(path))) return skip('no mkfs.ext4')
    execFileSync('mkfs.ext4', ['-q', '-m', '0', '-O', '^has_journal', image])
    const isDone = await whileMounted(place, ['-o', 'loop', image], async () => {
      const folder = join(place, 'game')
      const { engine } = await engineFor(publisher, { folder, program })
      await engine.update()
      const before = await treeText(folder)
      const next = await publisher.release({ ...files, 'data/a.bin': noise(2_000_000, 5) })
      const filler = join(place, 'filler')
      const open = async (path: string, flags?: string | number, mode?: number): Promise<unknown> => {
        if (path.endsWith('.part')) await fill(filler)
        return await nodeFileSystem.open(path, flags, mode)
      }
      const full = await engineFor(publisher, { folder, program, fs: { ...nodeFileSystem, open } as FileSystem })
      await expect(full.engine.update()).rejects.toMatchObject({
        code: 'LA_DISK_FULL',
        hint: expect.stringContaining('Free some room'),
      })
      expect(await treeText(folder)).toBe(before)
      expect(await (await full.engine.launch({ ...quiet, update: false })).exited).toBe(0)
      await truncate(filler, 0)
      expect(await engine.update()).toMatchObject({ outcome: 'updated' })
      expect(await treeText(folder)).toBe(expectedText(next.files, sha256Hex))
    })
    if (!isDone) skip('nothing can be mounted')
  })

  it('that became read-only changes nothing and plays; writable again, it goes on (row 412)', async ({ skip }) => {
    const { publisher, folder, text } = await installed()
    const next = await publisher.release({ ...files, 'data/b.bin': noise(3000, 6) })
    const isDone = await whileMounted(folder, ['--bind', folder], async () => {
      execFileSync('mount', ['-o', 'remount,ro,bind', folder])
      const { engine } = await engineFor(publisher, { folder, program })
      await expect(engine.update()).rejects.toMatchObject({
        code: 'LA_PERMISSION',
        hint: expect.stringContaining('read-only'),
      })
      expect(await (await engine.launch(quiet)).exited).toBe(0)
      expect(await treeText(folder)).toBe(text)
      execFileSync('mount', ['-o', 'remount,rw,bind', folder])
      expect(await engine.update()).toMatchObject({ outcome: 'updated', version: next.model.version })
    })
    if (!isDone) skip('nothing can be mounted')
  })
})

/** Writes until the volume takes nothing more. */
async function fill(path: string): Promise<void> {
  for (const size of [1024 * 1024, 4096, 512])
    for (;;) {
      try {
        await writeFile(path, new Uint8Array(size), { flag: 'a' })
      } catch {
        break
      }
    }
}

describe('an install that was moved away under its launcher (row 413)', () => {
  it('is not installed again in its old place, whatever is asked for', async () => {
    const { publisher, folder } = await installed()
    const elsewhere = join(await temporaryFolder(), 'moved')
    const { engine } = await engineFor(publisher, { folder, program, logFile: false })
    await engine.status()
    await rename(folder, elsewhere)
    const fresh = await engineFor(publisher, { folder, program, makesFolder: false, logFile: false })
    for (const one of [engine, fresh.engine])
      for (const act of [() => one.update(), () => one.repair(), () => one.pause(), () => one.launch(quiet)])
        await expect(act()).rejects.toMatchObject({ code: 'LA_FOLDER_GONE' })
    expect(existsSync(folder)).toBe(false)
    const there = await engineFor(publisher, { folder: elsewhere, program })
    expect(await there.engine.update()).toMatchObject({ outcome: 'up-to-date', downloadedBytes: 0 })
    await mkdir(folder)
    expect(await readFile(join(elsewhere, 'game.mjs'), 'utf8')).toBe(files['game.mjs'])
  })
})
