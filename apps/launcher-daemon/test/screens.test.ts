/** Every state of the page, from statuses as the launcher sends them: it fits in every language and width. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startDaemon } from '../src/daemon/daemon.ts'
import type { Daemon } from '../src/daemon/daemon.ts'
import { LANGUAGE_NAMES } from '../src/page/words.ts'
import { temporaryFolder } from '../../../packages/install-engine/test/support/install.ts'
import { png } from './support/studio.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)
/** A folder for pictures of every state: set it to look at them. */
const shots = process.env['KEYTURN_SCREENSHOTS']

const notes = `# The winter of wolves

The northern pass is open again.

- **New** map: Frostgate, for levels 40 to 55
- Mounts keep their saddle bags
- Fixed: the blacksmith no longer sells the anvil

[All changes](https://example.org/news)`

const progress = {
  phase: 'fetch',
  downloadedBytes: 812_000_000,
  downloadTotalBytes: 2_340_000_000,
  diskBytes: 0,
  diskTotalBytes: 0,
  bytesPerSecond: 8_400_000,
  secondsLeft: 182,
}
const components = [
  { name: 'voice-de', title: 'Deutsche Stimmen', bytes: 412_000_000, isChosen: true },
  { name: 'voice-ja', title: '日本語音声', bytes: 398_000_000, isChosen: false },
  { name: 'hd', title: 'High-resolution textures for large screens', bytes: 3_240_000_000, isChosen: false },
]
const ready = {
  folder: 'C:\\Users\\Ana\\AppData\\Local\\Programs\\frostgate\\game',
  channel: 'stable',
  state: 'idle',
  version: '1.4.0',
  trust: 'current',
  notes,
  components: [],
  needsKey: true,
  offered: '1.4.0',
  canRollBack: false,
  paused: false,
  isRunning: false,
  needsSetup: false,
  offline: false,
  settings: { channel: 'stable' },
  progress: { ...progress, phase: 'idle', downloadedBytes: 0, downloadTotalBytes: 0, bytesPerSecond: 0 },
}
const update = { ...ready, offered: '1.5.0', offeredNotes: notes, activity: 'update' }
const first = { ...ready, version: undefined, trust: 'pinned', notes: undefined, offered: undefined, needsKey: false }
const offer = { version: '1.4.0', notes, bytes: 5_130_000_000, components }
const setup = { ...first, needsSetup: true, folder: 'C:\\Games\\Frostgate' }

type State = Record<string, unknown>
const STATES: readonly (readonly [name: string, status: State, look?: State | undefined, open?: string])[] = [
  ['setup-asking', setup, { kind: 'new', freeBytes: 120_000_000_000, found: 0 }],
  ['setup', { ...setup, offer }, { kind: 'new', freeBytes: 120_000_000_000, found: 0 }],
  ['setup-full', { ...setup, folder: 'D:\\Small', offer }, { kind: 'empty', freeBytes: 2_000_000_000, found: 0 }],
  [
    'setup-existing-game',
    { ...setup, folder: 'D:\\Games\\Frostgate', offer },
    { kind: 'game', freeBytes: 9_000_000_000, found: 812 },
  ],
  ['setup-refused', { ...setup, folder: 'C:\\Windows', offer }, { kind: 'refused', found: 0 }],
  ['setup-offline', { ...setup, offline: true }, { kind: 'new', freeBytes: 120_000_000_000, found: 0 }],
  ['first-install', { ...first, activity: 'update', state: 'fetch', offered: '1.4.0', offeredNotes: notes, progress }],
  [
    'first-comparing',
    {
      ...first,
      activity: 'update',
      state: 'plan',
      progress: { ...progress, phase: 'plan', diskBytes: 4e9, diskTotalBytes: 8e9 },
    },
  ],
  ['first-paused', { ...first, paused: true, progress }],
  ['ready', ready],
  ['ready-updated', { ...ready, canRollBack: true, lastResult: { activity: 'update', outcome: 'updated' } }],
  ['ready-without-notes', { ...ready, notes: undefined }],
  ['details', ready, undefined, '#details'],
  ['details-refused', { ...ready, trust: 'stale', refused: { code: 'MAN_UNWITNESSED' } }, undefined, '#details'],
  [
    'settings',
    {
      ...ready,
      settings: { channel: 'stable', limit: 2_000_000, backgroundLimit: 500_000, downloadHours: '01:00-07:00' },
    },
    undefined,
    '#settings',
  ],
  ['parts', { ...ready, components }, undefined, '#parts'],
  ['updating', { ...update, state: 'fetch', progress }],
  [
    'updating-slowest',
    { ...update, state: 'fetch', progress: { ...progress, bytesPerSecond: 0, secondsLeft: 8_640_000 } },
  ],
  [
    'updating-fastest',
    {
      ...update,
      offered: '2026.12.24-rc.1',
      state: 'fetch',
      progress: { ...progress, downloadTotalBytes: 1_234_567_890_123, bytesPerSecond: 12e9, secondsLeft: 1 },
    },
  ],
  ['checking', { ...update, state: 'trust' }],
  ['installing', { ...update, state: 'swap' }],
  ['next-release', { ...ready, next: { version: '1.5.0', at: '2026-12-24T18:00:00Z', state: 'ready' } }],
  ['playing', { ...ready, isRunning: true }],
  ['playing-and-updating', { ...update, isRunning: true, state: 'fetch', progress }],
  ['playing-update-waits', { ...update, isRunning: true, state: 'wait', progress: { ...progress, phase: 'wait' } }],
  [
    'asks-size',
    { ...update, activity: undefined, waiting: { reason: 'size', version: '1.5.0', bytes: 2_340_000_000 } },
  ],
  [
    'asks-metered',
    { ...update, activity: undefined, waiting: { reason: 'metered', version: '1.5.0', bytes: 84_000_000 } },
  ],
  [
    'waits-for-night',
    {
      ...update,
      activity: undefined,
      settings: { channel: 'stable', downloadHours: '01:00-07:00' },
      waiting: { reason: 'night', version: '1.5.0', bytes: 84_000_000 },
    },
  ],
  [
    'waits-for-game',
    {
      ...update,
      activity: undefined,
      isRunning: true,
      waiting: { reason: 'game', version: '1.5.0', bytes: 84_000_000 },
    },
  ],
  ['offline', { ...ready, offline: true, trust: 'stale' }],
  ['refused', { ...ready, lastError: { code: 'MAN_SIGNATURE', message: 'x', kind: 'auth' } }],
  ['refused-start', { ...ready, lastError: { code: 'LA_BARRED', message: 'x', kind: 'policy' } }],
  ['disk-full', { ...ready, lastError: { code: 'LA_DISK_FULL', message: 'x', kind: 'io' } }],
  ['barred', { ...ready, trust: 'barred', reason: { code: 'MAN_REVOKED', message: 'x' } }],
  ['half-done', { ...ready, unfinished: '1.5.0' }],
  ['gone-back', { ...ready, version: '1.3.0', trust: 'current', offered: '1.4.0', canRollBack: false }],
]

let browser: Browser
let daemon: Daemon

/** A page whose launcher says what the test wants. */
async function open(how: { language: string; width: number; height: number; dark: boolean }): Promise<Page> {
  const context = await browser.newContext({
    locale: how.language,
    viewport: { width: how.width, height: how.height },
    colorScheme: how.dark ? 'dark' : 'light',
    reducedMotion: 'reduce',
  })
  const page = await context.newPage()
  await page.addInitScript(() => {
    const encoder = new TextEncoder()
    const real = globalThis.fetch
    const shared = globalThis as unknown as { push: (status: object) => void; look: object }
    shared.look = { kind: 'new', found: 0 }
    globalThis.fetch = async (input, init) => {
      const path = new URL(String(input), location.href).pathname
      if (path === '/api/look') return new Response(JSON.stringify(shared.look))
      if (path !== '/api/events') return await real(input, init)
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          shared.push = (status) =>
            controller.enqueue(encoder.encode(`event: status\ndata: ${JSON.stringify(status)}\n\n`))
        },
      })
      return new Response(body)
    }
  })
  await page.goto(daemon.pageAddress())
  await page.waitForFunction(() => 'push' in globalThis)
  await page.waitForFunction((tag) => document.documentElement.lang === tag || tag === 'en', how.language)
  return page
}

/** Shows a state and says what hangs over its place, or has no text. */
async function show(page: Page, [, status, look, opened]: (typeof STATES)[number]): Promise<string[]> {
  await page.evaluate(
    ({ status, look, opened }) => {
      const shared = globalThis as unknown as { push: (status: object) => void; look: object }
      if (look !== undefined) shared.look = look
      for (const details of document.querySelectorAll('details')) details.open = `#${details.id}` === opened
      shared.push(status)
    },
    { status, look, opened },
  )
  await page.waitForTimeout(look === undefined ? 30 : 80) // one turn for the stream, one for the look at the folder
  return await page.evaluate(() => {
    const visible = (node: Element): boolean => node.getClientRects().length > 0
    const wide = [...document.querySelectorAll('body *')].filter(
      (node) => visible(node) && node.getBoundingClientRect().right > innerWidth + 1 && node.closest('.skip') === null,
    )
    const mute = [...document.querySelectorAll('button, label, summary, h2')].filter(
      (node) => visible(node) && node.textContent.trim() === '',
    )
    const name = (node: Element): string => `${node.tagName.toLowerCase()}#${node.id}`
    return [...wide.map((node) => `too wide: ${name(node)}`), ...mute.map((node) => `no text: ${name(node)}`)]
  })
}

describe.skipIf(executablePath === undefined)('every state of the page', () => {
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executablePath ?? '', args: ['--no-sandbox'] })
    daemon = await startDaemon({
      folder: await temporaryFolder(),
      check: false,
      settings: { server: 'http://releases.test/', trust: `key:${'0'.repeat(64)}` },
      brand: { name: 'Frostgate Online', accent: '#b3202a', logo: { type: 'image/png', bytes: png } },
    })
  })
  afterAll(async () => {
    await browser?.close()
    await daemon?.close()
  })

  const pictured = new Set(['en', 'de', 'ja'])
  // What fits the narrow page fits the wide one: the wide one is tried in three languages, in all of them with pictures.
  const widths = (language: string): number[] => (pictured.has(language) || shots !== undefined ? [960, 360] : [360])
  const cases = Object.keys(LANGUAGE_NAMES).flatMap((language) =>
    widths(language).flatMap((width) =>
      (pictured.has(language) && shots !== undefined ? [false, true] : [width === 360]).map((dark) => ({
        language,
        width,
        dark,
      })),
    ),
  )

  // That the words exist in every language is a test of their own; how the page waits is the same in all.
  it.each(shots === undefined ? ['en', 'ja'] : Object.keys(LANGUAGE_NAMES))(
    'starts no install into a folder that is full or refused, and says why: %s',
    async (language) => {
      const page = await open({ language, width: 960, height: 640, dark: false })
      const stateOf = (name: string) => STATES.find(([known]) => known === name) as (typeof STATES)[number]
      const seen = async (name: string, isDisabled: boolean): Promise<string> => {
        await show(page, stateOf(name))
        await page.waitForSelector(`#setup-install:${isDisabled ? 'disabled' : 'enabled'}`)
        expect(await page.getAttribute('#setup-install', 'aria-describedby')).toBe('setup-look')
        return (await page.textContent('#setup-look')) ?? ''
      }
      const full = await seen('setup-full', true)
      // Room is made meanwhile: the page looks again by itself.
      await page.evaluate(() => {
        const shared = globalThis as unknown as { look: object }
        shared.look = { kind: 'empty', freeBytes: 120_000_000_000, found: 0 }
      })
      await page.waitForSelector('#setup-install:enabled', { timeout: 20_000 })
      const refused = await seen('setup-refused', true)
      expect(new Set([full, refused, '']).size).toBe(3)
      await seen('setup', false)
      await show(page, stateOf('details-refused'))
      expect(await page.textContent('#refused')).toContain('MAN_UNWITNESSED')
      await show(page, stateOf('updating-slowest'))
      expect(await page.textContent('#figures')).not.toMatch(/·|2[.,]?400/) // neither 0 B/s nor 100 days
      await show(page, stateOf('updating-fastest'))
      expect(await page.textContent('#figures')).toMatch(/1[.,]23? TB.*12[.,]0 GB/)
      await page.context().close()
    },
    120_000,
  )

  it.each(cases)(
    'fits in $language at $width, dark: $dark',
    async ({ language, width, dark }) => {
      const page = await open({ language, width, height: width === 960 ? 640 : 740, dark })
      const faults: string[] = []
      for (const state of STATES) {
        for (const fault of await show(page, state)) faults.push(`${state[0]}: ${fault}`)
        if (shots === undefined || !pictured.has(language)) continue
        mkdirSync(shots, { recursive: true })
        const name = `${state[0]}-${language}-${width}-${dark ? 'dark' : 'light'}.png`
        await page.screenshot({ path: join(shots, name), fullPage: width === 360 })
      }
      expect(faults).toEqual([])
      await page.context().close()
    },
    120_000,
  )
})
