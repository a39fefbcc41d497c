import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { EngineOptions, Fetch } from '../src/index.ts'
import { engineFor, expectedText, treeFetch, treeText } from './support/install.ts'
import { noise, Publisher, sha256Hex } from './support/publisher.ts'

const stdio = ['ignore', 'ignore', 'ignore'] as const

/** Runs until a file of the test appears. */
const client = `
import { existsSync } from 'node:fs'
const timer = setInterval(() => { if (existsSync(process.argv[2])) { clearInterval(timer); process.exit(0) } }, 20)
`

async function until(met: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await met())) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** One release installed, a second offered whose one new blob comes when the test says so. */
async function studio(options: Partial<EngineOptions> = {}) {
  const publisher = await Publisher.create()
  const files = { 'client.mjs': client, 'pack/a.bin': noise(400_000, 1), 'edition.txt': 'one' }
  const first = await publisher.release(files)
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  const held = noise(600_000, 9)
  const counts = { waiting: 0, asked: 0 }
  const plain = treeFetch(publisher.tree)
  const fetch: Fetch = async (url, init) => {
    if (url.endsWith(sha256Hex(held))) {
      counts.waiting += 1
      counts.asked += 1
      await new Promise<void>((resolve, reject) => {
        void opened.then(resolve)
        init.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error), { once: true })
      }).finally(() => (counts.waiting -= 1))
    }
    return await plain(url, init)
  }
  const made = await engineFor(publisher, { program: ['client.mjs'], fetch, ...options })
  await made.engine.update()
  const second = await publisher.release({ ...files, 'pack/new.bin': held, 'edition.txt': 'two' })
  const end = join(made.folder, '.updates/end-of-game')
  return {
    ...made,
    publisher,
    first,
    second,
    held,
    open,
    counts,
    start: async () => await made.engine.launch({ args: [end], stdio }),
    endGame: async () => await writeFile(end, ''),
    trees: {
      old: expectedText(first.files, sha256Hex),
      new: expectedText(second.files, sha256Hex),
    },
  }
}

describe('playing while an update downloads', () => {
  it('starts the installed release during the download, and puts the new one in place when the game has ended', async () => {
    const { engine, folder, events, trees, counts, open, start, endGame } = await studio()
    const updating = engine.update({ whenRunning: 'wait' })
    await until(() => counts.waiting > 0)
    const started = await start()
    expect(started).toMatchObject({ version: '2026.11.21-1', offline: false, update: undefined })
    expect(await treeText(folder)).toBe(trees.old)
    expect((await engine.status()).state).toBe('fetch')
    open()
    await until(async () => (await engine.status()).state === 'wait')
    expect(await treeText(folder)).toBe(trees.old)
    expect(existsSync(join(folder, '.updates/txn.json'))).toBe(false)
    await endGame()
    expect(await updating).toMatchObject({ outcome: 'updated', version: '2026.11.21-2', downloadedBytes: 600_000 + 3 })
    expect(await treeText(folder)).toBe(trees.new)
    expect(await readdir(join(folder, '.updates/staging'))).toEqual([])
    expect(events.filter((event) => event.type === 'plan').length).toBe(2) // one for each release
  })

  it('confirms the start of a game that runs during a download', async () => {
    const { engine, counts, open, start, endGame } = await studio({ confirmAfterMs: 10 })
    const updating = engine.update({ whenRunning: 'wait' })
    await until(() => counts.waiting > 0)
    const { confirmed, exited } = await start()
    expect(await confirmed).toBe(true)
    expect(await engine.status()).toMatchObject({ version: '2026.11.21-1', confirmed: true, failedStarts: 0 })
    expect(counts.waiting).toBeGreaterThan(0)
    await endGame()
    await exited
    open()
    await updating
  })

  it('gives way to a start while it asks the server, and asks again afterwards', async () => {
    let isSilent = false
    let asked = 0
    const made = await studio()
    const fetch: Fetch = async (url, init) => {
      if (!isSilent) return await treeFetch(made.publisher.tree)(url, init)
      asked += 1
      return await new Promise((_, reject) => {
        init.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error), { once: true })
      })
    }
    const { engine, folder } = await engineFor(made.publisher, { folder: made.folder, program: ['client.mjs'], fetch })
    isSilent = true
    const updating = engine.update({ whenRunning: 'wait' })
    await until(() => asked > 0)
    const started = await engine.launch({ args: [join(folder, '.updates/end-of-game')], stdio })
    expect(started.version).toBe('2026.11.21-1')
    isSilent = false
    await until(async () => (await engine.status()).state === 'wait')
    await made.endGame()
    expect(await updating).toMatchObject({ outcome: 'updated', version: '2026.11.21-2' })
    expect(await treeText(folder)).toBe(made.trees.new)
  })

  it('repairs a changed file before the start, and keeps what the update has downloaded', async () => {
    const { engine, folder, counts, open, start, endGame, trees } = await studio()
    const updating = engine.update({ whenRunning: 'wait' })
    await until(() => counts.waiting > 0)
    await writeFile(join(folder, 'edition.txt'), 'xxx')
    await start()
    expect(await treeText(folder)).toBe(trees.old)
    open()
    await until(async () => (await engine.status()).state === 'wait')
    await endGame()
    expect((await updating).version).toBe('2026.11.21-2')
    expect(await treeText(folder)).toBe(trees.new)
    expect(counts.asked).toBe(2) // once more after the repair: no byte of it had come
  })

  it('refuses to put an update under a running game unless it may wait, and keeps the download', async () => {
    const { engine, folder, open, endGame, trees, counts } = await studio()
    const { exited } = await engine.launch({
      update: false,
      args: [join(folder, '.updates/end-of-game')],
      stdio,
    })
    open()
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_LOCKED', kind: 'busy' })
    expect(await treeText(folder)).toBe(trees.old)
    await endGame()
    await exited
    expect(await engine.update()).toMatchObject({ outcome: 'updated', downloadedBytes: 0 })
    expect(counts.asked).toBe(1)
    expect(await treeText(folder)).toBe(trees.new)
  })

  it('updates before a start when nothing is under way', async () => {
    const { open, start, endGame } = await studio()
    open()
    const started = await start()
    expect(started).toMatchObject({ version: '2026.11.21-2', update: { outcome: 'updated' } })
    await endGame()
    await started.exited
  })

  it('downloads only, where that is all that is asked for, and installs later without the network', async () => {
    const { engine, folder, open, trees, counts } = await studio()
    open()
    expect(await engine.update({ downloadOnly: true })).toMatchObject({ outcome: 'staged', version: '2026.11.21-2' })
    expect(await treeText(folder)).toBe(trees.old)
    expect((await engine.status()).version).toBe('2026.11.21-1')
    const before = counts.asked
    expect(await engine.update()).toMatchObject({ outcome: 'updated', downloadedBytes: 0 })
    expect(counts.asked).toBe(before)
    expect(await treeText(folder)).toBe(trees.new)
  })

  it('lets a second launcher of the same install start the game during the download', async () => {
    const { engine, folder, publisher, counts, open, endGame, trees } = await studio()
    const updating = engine.update({ whenRunning: 'wait' })
    await until(() => counts.waiting > 0)
    const other = await engineFor(publisher, { folder, program: ['client.mjs'] })
    const started = await other.engine.launch({ args: [join(folder, '.updates/end-of-game')], stdio })
    expect(started).toMatchObject({ version: '2026.11.21-1', offline: false })
    expect(other.events.some((event) => event.type === 'notice' && event.code === 'LA_LOCKED')).toBe(true)
    open()
    await until(async () => (await engine.status()).state === 'wait')
    await endGame()
    expect((await updating).version).toBe('2026.11.21-2')
    expect(await treeText(folder)).toBe(trees.new)
  })

  it('does not wait for a download that trickles: the installed release starts', async () => {
    const { start, endGame, events } = await studio({ promptDeadlineMs: 60 })
    const started = await start()
    expect(started.version).toBe('2026.11.21-1')
    expect(events.some((event) => event.type === 'notice' && event.code === 'LA_TIMEOUT')).toBe(true)
    await endGame()
    await started.exited
  })
})
