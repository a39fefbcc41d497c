import { mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { nodeFetch } from '../src/index.ts'
import type { Fetch } from '../src/index.ts'
import { engineFor, offline, treeFetch, treeText } from './support/install.ts'
import { contentKey, DAY, noise, NOW, Publisher } from './support/publisher.ts'

const HOUR = 3_600_000
const quiet = { stdio: ['ignore', 'ignore', 'ignore'] } as const
const game = { 'game.mjs': 'process.exitCode = 0', 'b.txt': 'b' }
const program = ['game.mjs']

describe('a clock that is behind', () => {
  it('by a day installs, updates and says so; expiry is measured by the signed time (row 310)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(game)
    const slow = (): number => NOW - 23 * HOUR
    const { engine, folder, events } = await engineFor(publisher, { clock: slow })
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    const notice = events.find((event) => event.type === 'notice' && event.code === 'MAN_CLOCK')
    expect(notice).toMatchObject({ message: expect.stringContaining('23 hours') })
    publisher.nowMs = NOW + 6 * HOUR
    await publisher.release({ ...game, 'b.txt': 'c' })
    const later = await engineFor(publisher, { clock: () => NOW - 6 * HOUR, folder })
    expect(await later.engine.update()).toMatchObject({ outcome: 'updated' })
    const back = await engineFor(publisher, { clock: () => NOW - 300 * DAY, folder })
    expect(await back.engine.status()).toMatchObject({ trust: 'current' })
  })

  it('by more is refused with the way out (row 310)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(game)
    const { engine } = await engineFor(publisher, { clock: () => NOW - 30 * HOUR })
    await expect(engine.update()).rejects.toMatchObject({
      code: 'TRUST_CLOCK',
      hint: expect.stringContaining('date and time'),
    })
  })

  it('by minutes is not worth a word (row 310)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(game)
    const { engine, events } = await engineFor(publisher, { clock: () => NOW - 60_000 })
    await engine.update()
    expect(events.filter((event) => event.type === 'notice')).toEqual([])
  })
})

describe('a start on a network that means harm', () => {
  it('plays although the signatures of the installed manifest are replaced (row 312)', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(game)
    const { engine, folder } = await engineFor(publisher, { program })
    await engine.update()
    const stem = `channels/stable/manifests/${made.model.version}`
    publisher.tree.set(
      `${stem}.sigs.json`,
      await publisher.resign(made, ['somebody']).then((again) => again.signatures),
    )
    const run = await engineFor(publisher, { program, folder })
    const started = await run.engine.launch(quiet)
    expect(await started.exited).toBe(0)
    expect(run.events).not.toContainEqual(expect.objectContaining({ type: 'trust', status: 'barred' }))
    await started.confirmed
  })

  it('that answers forever starts what is installed after the deadline (row 312)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(game)
    const { engine, folder } = await engineFor(publisher, { program })
    await engine.update()
    // A byte whenever one is asked for, and never the end.
    const drip: Fetch = (_url, init) =>
      Promise.resolve(
        new Response(
          new ReadableStream<Uint8Array>({
            async pull(controller) {
              await new Promise((resolve) => setTimeout(resolve, 5))
              if (init.signal?.aborted === true) controller.error(init.signal.reason)
              else controller.enqueue(new Uint8Array(1))
            },
          }),
          { status: 200 },
        ),
      )
    const run = await engineFor(publisher, { program, folder, fetch: drip, promptDeadlineMs: 50 })
    const started = await run.engine.launch(quiet)
    expect(started.offline).toBe(true)
    expect(await started.exited).toBe(0)
    expect(run.events).toContainEqual(expect.objectContaining({ type: 'notice', code: 'LA_TIMEOUT' }))
    await started.confirmed
  })

  it.each([
    ['answer', 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n'],
    ['header', 'HTTP/1.1 200 OK\r\nx-long: '],
  ])('that sends one byte a second of its %s, forever, is waited for 10 s in all (row 312)', async (_title, begin) => {
    const publisher = await Publisher.create()
    await publisher.release(game)
    const { engine, folder } = await engineFor(publisher, { program })
    await engine.update()
    let sent = 0
    let asked = 0
    const server = createServer((socket) => {
      asked += 1
      socket.write(begin)
      const drip = setInterval(() => socket.write((sent++, 'x')), 1000)
      socket.on('error', () => undefined)
      socket.once('close', () => clearInterval(drip))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    // The real client, on the real clock, with the limits that players have.
    const run = await engineFor(publisher, { program, folder, fetch: nodeFetch, server: `http://127.0.0.1:${port}/` })
    const started = await run.engine.launch(quiet)
    expect([started.offline, await started.exited]).toEqual([true, 0])
    await started.confirmed
    expect(run.events).toContainEqual(
      expect.objectContaining({ type: 'notice', code: 'LA_TIMEOUT', message: expect.stringContaining('10 s') }),
    )
    // Not shorter than said, and not once more for each document: a busy machine makes it longer, not ten times.
    expect(sent).toBeGreaterThanOrEqual(5)
    expect(sent).toBeLessThan(100 * asked)
    await new Promise((resolve) => server.close(resolve))
  })

  it('asks nobody where that is wanted, neither for a changed file nor for a key (row 312)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(
      { ...game, 'runtime-key.json': contentKey(1).json },
      { place: { contentKeys: [contentKey(1).entry] } },
    )
    const { engine, folder } = await engineFor(publisher, { program })
    await engine.update()
    const away = await engineFor(publisher, { program, folder })
    const started = await away.engine.launch({ ...quiet, offline: true })
    expect(await started.exited).toBe(0)
    await started.confirmed
    await writeFile(join(folder, 'b.txt'), 'x')
    await expect(away.engine.launch({ ...quiet, offline: true })).rejects.toMatchObject({ code: 'LA_HASH' })
    expect(away.served).toEqual([])
  })
})

describe('two channels with the same sequences', () => {
  it('are kept apart: back and forth, going back, and a start without a server all end well (row 313)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(game, { place: { sequence: 1 } })
    await publisher.release(
      { ...game, 'b.txt': 'beta' },
      { channel: 'beta', place: { sequence: 1 }, version: '2026.11.21-beta' },
    )
    const stable = await engineFor(publisher, { program })
    await stable.engine.update()
    const { folder } = stable
    const text = await treeText(folder)
    const beta = await engineFor(publisher, { program, folder, channel: 'beta' })
    await beta.engine.update()
    expect(await treeText(folder)).not.toBe(text)
    expect((await readdir(join(folder, '.updates/trust/manifests'))).sort()).toEqual(['beta', 'stable'])
    expect(await beta.engine.rollback()).toMatchObject({ outcome: 'rolled-back' })
    expect(await treeText(folder)).toBe(text)
    const away = await engineFor(publisher, { program, folder, fetch: offline })
    const started = await away.engine.launch(quiet)
    expect(await started.exited).toBe(0)
    await started.confirmed
    expect(await treeText(folder)).toBe(text)
  })

  it('are read where launchers before kept them, if they are of the channel (row 313)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(game)
    const { engine, folder } = await engineFor(publisher, { program })
    await engine.update()
    await publisher.release({ ...game, 'b.txt': 'c' })
    await engine.update()
    const kept = join(folder, '.updates/trust/manifests')
    for (const name of await readdir(join(kept, 'stable'))) await rename(join(kept, 'stable', name), join(kept, name))
    const old = await engineFor(publisher, { program, folder, fetch: offline })
    expect(await old.engine.status()).toMatchObject({ trust: 'current' })
    expect(await old.engine.rollback()).toMatchObject({ outcome: 'rolled-back' })
    const other = await engineFor(publisher, { program, folder, channel: 'beta', fetch: treeFetch(publisher.tree) })
    await expect(other.engine.update()).rejects.toMatchObject({ code: 'MAN_MISSING' })
  })

  it('whose kept manifest is lost cannot be gone back to, and nothing is touched (row 313)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ ...game, big: noise(1000, 1) })
    const { engine, folder } = await engineFor(publisher, { program })
    await engine.update()
    await publisher.release({ ...game, big: noise(1000, 2) })
    await engine.update()
    const text = await treeText(folder)
    const kept = join(folder, '.updates/trust/manifests')
    await rename(join(kept, 'stable'), join(kept, 'lost'))
    await mkdir(join(kept, 'stable'))
    await expect(engine.rollback()).rejects.toMatchObject({ code: 'LA_JOURNAL' })
    expect(await treeText(folder)).toBe(text)
  })
})
