/** What the page says after its launcher was killed, and after another one was started in its place. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { askForPage, startDaemon } from '../src/daemon/daemon.ts'
import { openWindow } from '../src/daemon/window.ts'
import {
  expectedText,
  offline,
  temporaryFolder,
  treeText,
} from '../../../packages/install-engine/test/support/install.ts'
import { LyingServer } from '../../../packages/install-engine/test/support/lying-server.ts'
import { noise, Publisher, sha256Hex } from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../packages/install-engine/test/support/publisher.ts'
import { LauncherApi } from './support/studio.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)
const client = `
import { existsSync } from 'node:fs'
setInterval(() => { if (existsSync('END')) process.exit(0) }, 20)
`
const files = (edition: string) => ({
  'client.mjs': client,
  'edition.txt': edition,
  'pack/a.bin': noise(900_000, edition.length),
  ...Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`data/${index}.txt`, `${edition} ${index}`])),
})

let publisher: Publisher
let server: LyingServer
let address: string
let first: MadeRelease
let second: MadeRelease
let isSecond = false
let firstTree: Publisher['tree']
const running: ChildProcess[] = []

beforeAll(async () => {
  publisher = await Publisher.create()
  publisher.nowMs = Date.now() - 60_000
  first = await publisher.release(files('one'))
  firstTree = new Map(publisher.tree)
  second = await publisher.release(files('second'))
  server = new LyingServer(() => (isSecond ? publisher.tree : firstTree))
  address = await server.listen()
})
afterAll(() => server.close())
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
  server.lie = undefined
  isSecond = false
})

interface Running {
  readonly child: ChildProcess
  readonly api: LauncherApi
}

async function start(dir: string, ...more: string[]): Promise<Running> {
  const flags = ['--dir', dir, '--server', address, '--trust', publisher.trust, '--program', 'client.mjs']
  const child = spawn(process.execPath, [main, 'run', ...flags, '--json', ...more], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.push(child)
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve())
    child.once('exit', () => reject(new Error('the launcher ended')))
  })
  const { address: at, token } = JSON.parse(await readFile(join(dir, '.updates/api.json'), 'utf8')) as Record<
    'address' | 'token',
    string
  >
  return { child, api: new LauncherApi(at, token) }
}

async function kill({ child }: Running): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

/** The states that a player sees; a campaign tries all of them. */
const STATES =
  process.env['KEYTURN_CAMPAIGN'] === undefined
    ? ['fetch', 'swap', 'finalize']
    : ['lock', 'recover', 'trust', 'plan', 'preflight', 'fetch', 'stage', 'commit', 'swap', 'prune', 'finalize']

const isIdle = (status: Readonly<Record<string, unknown>>): boolean => status['activity'] === undefined

/** An install of the first release, ready to be played. */
async function installed(): Promise<string> {
  const dir = await temporaryFolder()
  const one = await start(dir)
  await one.api.until((status) => isIdle(status) && status['version'] === first.model.version)
  await kill(one)
  return dir
}

const texts = (): Record<string, string> => ({
  [first.model.version]: expectedText(first.files, sha256Hex),
  [second.model.version]: expectedText(second.files, sha256Hex),
})

describe.skipIf(!existsSync(main))('a launcher that is killed and started again (row 415)', () => {
  it('says what is true, killed in any state of an update, also before a server answers', async () => {
    const start1 = await installed()
    isSecond = true
    for (const wanted of STATES) {
      server.lie = undefined
      const dir = await temporaryFolder()
      await cp(start1, dir, { recursive: true, preserveTimestamps: true })
      const one = await start(dir, ...(wanted === 'fetch' ? ['--limit', '400000'] : []))
      await one.api.untilEvent((status) => status['state'] === wanted || status['version'] === second.model.version)
      await kill(one)
      server.lie = { where: /./, how: () => undefined } // silence
      const two = await start(dir)
      await two.api.until((status) => status['state'] === 'trust') // what the kill left is brought to its end
      const status = await two.api.get('status')
      expect([wanted, status]).toMatchObject([wanted, { isRunning: false, trust: 'current', activity: 'update' }])
      expect([wanted, await treeText(dir)]).toEqual([wanted, texts()[String(status['version'])]])
      await kill(two)
    }
  })

  it('knows the game that the launcher before it started, and its end', async () => {
    const dir = await installed()
    const one = await start(dir)
    await one.api.until((status) => isIdle(status) && status['lastResult'] !== undefined)
    await one.api.post('launch', {})
    await one.api.until((status) => status['isRunning'] === true && isIdle(status))
    await kill(one)
    const two = await start(dir, '--pause-while-playing')
    expect(await two.api.get('status')).toMatchObject({ isRunning: true, version: first.model.version })
    await writeFile(join(dir, 'END'), '')
    await two.api.untilEvent((status) => status['isRunning'] === false)
    expect(await two.api.get('status')).toMatchObject({ isRunning: false, version: first.model.version })
  })

  it('stays paused', async () => {
    const dir = await installed()
    isSecond = true
    const one = await start(dir, '--limit', '300000')
    await one.api.untilEvent((status) => status['state'] === 'fetch')
    await one.api.post('pause', {})
    await one.api.until((status) => status['paused'] === true && isIdle(status))
    await kill(one)
    const two = await start(dir, '--limit', '3000000')
    await two.api.until(isIdle)
    expect(await two.api.get('status')).toMatchObject({ paused: true, version: first.model.version })
    await two.api.post('resume', {})
    await two.api.until((status) => status['version'] === second.model.version && isIdle(status))
  })

  it('says that the folder is gone when the game was moved, and installs nothing in its place', async () => {
    const dir = await installed()
    const one = await start(dir)
    await one.api.until((status) => isIdle(status) && status['lastResult'] !== undefined)
    await rename(dir, `${dir}-moved`)
    expect(await one.api.get('status')).toMatchObject({ lastError: { code: 'LA_FOLDER_GONE' } })
    await one.api.post('update', {})
    await one.api.until(isIdle)
    expect(existsSync(dir)).toBe(false)
    await kill(one)
    await rename(`${dir}-moved`, dir)
  })
})

describe.skipIf(browserPath === undefined)('a page whose launcher ends', () => {
  async function opened() {
    const folder = await temporaryFolder()
    const settings = { server: 'http://releases.test/', trust: publisher.trust }
    const options = { folder, settings, check: false, engine: { fetch: offline } }
    const browser = await chromium.launch({ executablePath: browserPath ?? '', args: ['--no-sandbox'] })
    const page = await browser.newPage({ locale: 'en-GB' })
    return { browser, page, options, folder }
  }

  it('offers nothing while there is none, and once another one is there says to open it again (row 415)', async () => {
    const { browser, page, options, folder } = await opened()
    const one = await startDaemon(options)
    await page.goto(one.pageAddress())
    await page.waitForSelector('#play:not([disabled])')
    const left = await readFile(join(folder, '.updates/api.json'))
    await one.close()
    await page.waitForSelector('text=The launcher was closed')
    expect(await page.evaluate('document.getElementById("work").inert')).toBe(true)
    expect(await page.textContent('#state')).toBe('')
    await writeFile(join(folder, '.updates/api.json'), left) // as a killed one leaves it
    const two = await startDaemon(options)
    expect(two.address).toBe(one.address)
    await page.waitForSelector('text=no longer connected')
    await page.goto(await askForPage(folder))
    await page.waitForSelector('#play:not([disabled])')
    expect(await page.evaluate('document.getElementById("work").inert')).toBe(false)
    await two.close()
    await browser.close()
  })

  it('closes when a newer launcher takes over with a window of its own (row 415)', async () => {
    const folder = await temporaryFolder()
    const settings = { server: 'http://releases.test/', trust: publisher.trust }
    const one = await startDaemon({ folder, settings, check: false, engine: { fetch: offline } })
    let args: readonly string[] = []
    await openWindow(one.pageAddress(), {
      folder: join(folder, '.updates'),
      env: { PATH: dirname(browserPath ?? '') },
      start: (_program, given) => (args = given),
    })
    const [profile = ''] = args.flatMap((arg) => /^--user-data-dir=(.*)$/.exec(arg)?.[1] ?? [])
    const window = await chromium.launchPersistentContext(profile, {
      executablePath: browserPath ?? '',
      args: [args[0] ?? '', '--no-sandbox'],
    })
    const page = window.pages()[0] as Page
    await page.waitForSelector('#play:not([disabled])')
    const closed = new Promise((resolve) => page.once('close', resolve))
    await one.close(true)
    await closed
    await window.close()
  })
})
