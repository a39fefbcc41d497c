import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Fetch, Settings } from '@keyturn/install-engine'
import { formatTime } from '@keyturn/manifest/publish'
import { isWithin, limitFor, whyWait } from '../src/daemon/download-policy.ts'
import { isMetered } from '../src/daemon/metered.ts'
import { Supervisor } from '../src/daemon/supervisor.ts'
import { temporaryFolder, treeFetch } from '../../../packages/install-engine/test/support/install.ts'
import { noise, NOW, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'
import type { TestFiles } from '../../../packages/install-engine/test/support/publisher.ts'

const client = `
import { existsSync } from 'node:fs'
setInterval(() => { if (existsSync('END')) process.exit(0) }, 20)
`
const noon = new Date(2026, 10, 21, 12, 0)
const quiet = { bytes: 5_000_000, isPlaying: false, isMetered: undefined, now: noon }

describe('what is downloaded unasked', () => {
  it('waits for the night, for the end of the game, or for a word, as the player set it', () => {
    expect(whyWait({}, quiet)).toBeUndefined()
    expect(whyWait({}, { ...quiet, bytes: 1_000_000_001 })).toBe('size')
    expect(whyWait({ askAbove: 0 }, quiet)).toBe('size')
    expect(whyWait({ askAbove: 0 }, { ...quiet, bytes: 0 })).toBeUndefined()
    expect(whyWait({ askAbove: quiet.bytes }, quiet)).toBeUndefined()
    expect(whyWait({}, { ...quiet, isMetered: true })).toBeUndefined()
    expect(whyWait({}, { ...quiet, isMetered: true, bytes: 10_000_001 })).toBe('metered')
    expect(whyWait({ pauseWhilePlaying: true }, quiet)).toBeUndefined()
    expect(whyWait({ pauseWhilePlaying: true }, { ...quiet, isPlaying: true })).toBe('game')
    expect(whyWait({ downloadHours: '01:00-07:00' }, quiet)).toBe('night')
    expect(whyWait({ downloadHours: '01:00-07:00' }, { ...quiet, now: new Date(2026, 10, 21, 6, 59) })).toBeUndefined()
  })

  it('knows hours over midnight, and a whole day', () => {
    const at = (hours: number, minutes = 0): Date => new Date(2026, 10, 21, hours, minutes)
    expect([22, 23, 0, 6, 7, 12].map((hour) => isWithin('23:00-07:00', at(hour)))).toEqual([
      false,
      true,
      true,
      true,
      false,
      false,
    ])
    expect(isWithin('09:30-10:00', at(9, 29))).toBe(false)
    expect(isWithin('09:30-10:00', at(9, 30))).toBe(true)
    expect(isWithin('08:00-08:00', at(3))).toBe(true)
  })

  it('has a limit of its own while the game runs or nobody looks', () => {
    const settings: Settings = { limit: 5000, backgroundLimit: 2000 }
    expect(limitFor(settings, { isPlaying: false, isWatched: true })).toBe(5000)
    expect(limitFor(settings, { isPlaying: true, isWatched: true })).toBe(2000)
    expect(limitFor(settings, { isPlaying: false, isWatched: false })).toBe(2000)
    expect(limitFor({ limit: 5000 }, { isPlaying: true, isWatched: false })).toBe(5000)
    expect(limitFor({}, { isPlaying: true, isWatched: false })).toBeUndefined()
  })

  it('asks the system about the connection, and lives with no answer', async () => {
    expect([true, false, undefined]).toContain(await isMetered())
    expect(await isMetered({}, 'aix')).toBeUndefined()
    expect(await isMetered({ SystemRoot: '/nowhere' }, 'win32')).toBeUndefined()
  })
})

let running: Supervisor | undefined
let endOfGame: string | undefined
afterEach(async () => {
  if (endOfGame !== undefined) await writeFile(endOfGame, '')
  await running?.stop()
  running = undefined
  endOfGame = undefined
})

/** An install with one release; blobs wait while `wire.isHeld`. */
async function install(
  settings: Omit<Settings, 'server' | 'trust'> = {},
  files: TestFiles = {},
  isMeteredHere = false,
) {
  const publisher = await Publisher.create()
  const folder = await temporaryFolder()
  endOfGame = join(folder, '.updates/END')
  const program = client.replace("'END'", JSON.stringify(endOfGame))
  const all = { 'client.mjs': program, 'a.bin': noise(300_000, 1), ...files }
  await publisher.release(all)
  const wire = { isHeld: false }
  const plain = treeFetch(publisher.tree)
  const fetch: Fetch = async (url, init) => {
    if (url.includes('/files/')) {
      while (wire.isHeld) {
        init.signal?.throwIfAborted()
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    return await plain(url, init)
  }
  running = new Supervisor({
    folder,
    settings: { server: 'http://releases.test/', trust: publisher.trust, program: ['client.mjs'], ...settings },
    engine: { fetch, clock: () => NOW + 1000, retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 } },
    isMetered: () => Promise.resolve(isMeteredHere),
  })
  const supervisor = running
  await supervisor.begin('update', { isAsked: true })
  await vi.waitFor(async () => expect((await supervisor.snapshot()).version).toBe('2026.11.21-1'), { timeout: 30_000 })
  await vi.waitFor(async () => expect((await supervisor.snapshot()).activity).toBeUndefined(), { timeout: 30_000 })
  const next = async (): Promise<void> => {
    await publisher.release({ ...all, 'a.bin': noise(310_000, 2) })
  }
  const settled = async (wanted: object): Promise<void> => {
    await vi.waitFor(async () => expect(await supervisor.snapshot()).toMatchObject(wanted), { timeout: 30_000 })
  }
  return { supervisor, publisher, folder, wire, next, settled, all }
}

describe('the launcher while it runs', () => {
  it('starts the game while the update downloads, and installs it when the game has ended', async () => {
    const { supervisor, wire, next, settled } = await install()
    await next()
    wire.isHeld = true
    await supervisor.begin('update')
    await settled({ activity: 'update', state: 'fetch' })
    await supervisor.begin('launch')
    await settled({ isRunning: true, activity: 'update', version: '2026.11.21-1', lastError: undefined })
    await expect(supervisor.begin('repair')).rejects.toMatchObject({ code: 'LA_LOCKED' })
    wire.isHeld = false
    await settled({ isRunning: true, state: 'wait', version: '2026.11.21-1' })
    await writeFile(endOfGame ?? '', '')
    await settled({ isRunning: false, activity: undefined, version: '2026.11.21-2', lastError: undefined })
  })

  it('starts the game although its own start waits for an update', async () => {
    const { supervisor, wire, next, settled } = await install()
    await next()
    wire.isHeld = true
    await supervisor.begin('launch')
    await settled({ activity: 'launch', state: 'fetch' })
    await supervisor.begin('launch')
    await settled({ isRunning: true, version: '2026.11.21-1' })
    wire.isHeld = false
    await settled({ state: 'wait', isRunning: true, lastError: undefined }) // the update goes on by itself
  })

  it('asks before a large update, and downloads it on the player’s word', async () => {
    const { supervisor, next, settled } = await install({ askAbove: 1000 })
    await next()
    await supervisor.begin('update')
    await settled({ activity: undefined, lastError: undefined, waiting: { reason: 'size', version: '2026.11.21-2' } })
    expect((await supervisor.snapshot()).waiting?.bytes).toBeGreaterThan(1000)
    await supervisor.begin('update', { isAsked: true })
    await settled({ version: '2026.11.21-2', waiting: undefined })
  })

  it('holds a download while the game runs, where the player wants that', async () => {
    const { supervisor, wire, next, settled } = await install({ pauseWhilePlaying: true })
    await next()
    wire.isHeld = true
    await supervisor.begin('update')
    await settled({ state: 'fetch' })
    await supervisor.begin('launch')
    await settled({ isRunning: true, activity: undefined, waiting: { reason: 'game', version: '2026.11.21-2' } })
    wire.isHeld = false
    await writeFile(endOfGame ?? '', '')
    await settled({ isRunning: false, activity: undefined, version: '2026.11.21-2', waiting: undefined })
  })

  it('changes components by downloading and removing just these, and keeps the answer', async () => {
    const voice = { bytes: noise(200_000, 6), group: 'voice' }
    const { supervisor, folder, settled } = await install({ groups: ['voice', 'old'] }, { 'voice.bin': voice })
    await settled({ components: [{ name: 'voice', isChosen: true, bytes: 200_000 }] })
    await supervisor.change({ components: { voice: false } })
    await settled({ activity: undefined, components: [{ name: 'voice', isChosen: false }] })
    await expect(readFile(join(folder, 'voice.bin'))).rejects.toMatchObject({ code: 'ENOENT' })
    const kept = JSON.parse(await readFile(join(folder, '.updates/settings.json'), 'utf8')) as object
    expect(kept).toMatchObject({ components: { voice: false } })
    expect(kept).not.toHaveProperty('groups')
    await supervisor.change({ components: { voice: true } })
    await settled({ activity: undefined, components: [{ name: 'voice', isChosen: true }] })
    expect((await readFile(join(folder, 'voice.bin'))).length).toBe(200_000)
  })

  it('fetches a scheduled release ahead, shows when it opens, and opens it when the server says so', async () => {
    const { supervisor, publisher, folder, all, settled } = await install()
    const first = publisher.last
    const next = await publisher.release({ ...all, 'b.bin': noise(400_000, 5) }, { place: { sequence: 1001 } })
    const at = formatTime(NOW + 3_600_000)
    if (first === undefined) throw new Error('nothing was released')
    await publisher.head(first, { head: (head) => ({ ...head, preload: { ...next.pin, at } }) })
    supervisor.start()
    await settled({ version: first.model.version, next: { version: next.model.version, at, state: 'ready' } })
    expect(existsSync(join(folder, 'b.bin'))).toBe(false)
    await publisher.head(next)
    await supervisor.begin('update')
    await settled({ version: next.model.version, next: undefined, lastError: undefined })
    expect(existsSync(join(folder, 'b.bin'))).toBe(true)
  })
})
