import { existsSync, mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Fetch, Settings } from '@keyturn/install-engine'
import { startDaemon } from '../src/daemon/daemon.ts'
import type { Daemon } from '../src/daemon/daemon.ts'
import { temporaryFolder, treeFetch } from '../../../packages/install-engine/test/support/install.ts'
import { NOW, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)
const shots = process.env['KEYTURN_SCREENSHOTS']
const CODE = 'abcde-fghjk-23456'

let browser: Browser
let daemon: Daemon | undefined
let open: Page | undefined

async function shot(page: Page, name: string): Promise<void> {
  if (shots === undefined) return
  mkdirSync(shots, { recursive: true })
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true })
}

/** A page over a server whose documents need a code. */
async function stage(settings: Omit<Settings, 'server' | 'trust'> = {}, code?: string) {
  const publisher = await Publisher.create()
  await publisher.release({ 'client.mjs': 'process.exit(0)' })
  const folder = await temporaryFolder()
  const tree = treeFetch(publisher.tree)
  const codes: (string | null)[] = []
  const posts: string[] = []
  const fetch: Fetch = async (url, init) => {
    if (init.method === 'POST') {
      posts.push(url)
      return new Response(null)
    }
    const given = new Headers(init.headers).get('keyturn-access')
    if (given !== null) codes.push(given)
    if (code !== undefined && !url.includes('/files/') && given !== code) return new Response('no', { status: 403 })
    return await tree(url, init)
  }
  daemon = await startDaemon({
    folder,
    check: false,
    settings: { server: 'http://releases.test/', trust: publisher.trust, program: ['client.mjs'], ...settings },
    engine: { fetch, clock: () => NOW + 1000, retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 } },
  })
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 900, height: 640 } })
  open = await context.newPage()
  await open.goto(daemon.pageAddress())
  const stored = async () =>
    JSON.parse(await readFile(join(folder, '.updates', 'settings.json'), 'utf8')) as Record<string, unknown>
  return { page: open, stored, codes, posts }
}

async function until(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await expect.poll(async () => (await page.textContent(selector)) ?? '', { timeout: 60_000 }).toMatch(pattern)
}

describe.skipIf(executablePath === undefined)('settings of the page', () => {
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executablePath ?? '', args: ['--no-sandbox'] })
  })
  afterAll(async () => {
    await browser?.close()
  })
  afterEach(async () => {
    await open?.context().close()
    await daemon?.close()
    daemon = undefined
  })

  it('take an access code: a wrong one is refused at its field, the right one installs and is shown to nobody', async () => {
    const { page, stored, codes } = await stage({}, CODE)
    await page.click('#play')
    await until(page, '#banner', /LA_ACCESS/)
    await page.click('#settings summary')
    expect(await page.getByLabel(/code/i).getAttribute('id')).toBe('access-code')
    await page.fill('#access-code', 'short')
    await page.click('#save')
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe('access-code')
    expect(await page.inputValue('#access-code')).toBe('short')
    expect(await page.textContent('#access-code + [role=alert]')).toMatch(/cannot be used/)
    await page.fill('#access-code', '')
    for (const [id, value, fine] of [
      ['channel', 'Bad Channel!!', 'stable'],
      ['limit', 'much', ''],
    ] as const) {
      await page.fill(`#${id}`, value)
      await page.click('#save')
      expect(await page.textContent(`#${id}[aria-invalid] + [role=alert]`)).toMatch(/cannot be used/)
      expect(await page.textContent('#save')).toBe('Save')
      await page.fill(`#${id}`, fine)
    }
    await page.fill('#access-code', 'wrong-wrong-wrong')
    await page.click('#save')
    await expect.poll(() => page.inputValue('#access-code')).toBe('')
    await page.click('#play')
    await until(page, '#banner', /LA_ACCESS/)
    await shot(page, '40-access-code')
    await page.fill('#access-code', ` ${CODE} `)
    await page.click('#save')
    await expect.poll(() => page.inputValue('#access-code')).toBe('')
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    expect(new Set(codes)).toEqual(new Set(['wrong-wrong-wrong', CODE]))
    expect(await stored()).toMatchObject({ accessCodes: { stable: CODE } })
    await page.reload()
    await until(page, '#state', /Ready to play/)
    expect(await page.content()).not.toContain(CODE)
    expect(JSON.stringify(await daemon?.supervisor.snapshot())).not.toContain(CODE)
  })

  it('let a player say no to counts of updates, where the studio asked for them', async () => {
    const { page, stored, posts } = await stage({ reports: true })
    await page.click('#settings summary')
    const box = page.getByLabel('Send counts of updates, without any id')
    expect(await box.isChecked()).toBe(true)
    await shot(page, '41-counts')
    await box.uncheck()
    await page.click('#save')
    await expect.poll(async () => (await stored())['reports']).toBe(false)
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    expect(posts).toEqual([])
    await box.check()
    await page.click('#save')
    await expect.poll(async () => (await stored())['reports']).toBe(true)
    await page.click('#play')
    await expect.poll(() => posts.length, { timeout: 30_000 }).toBeGreaterThan(0)
  })

  it('do not speak of counts where nobody asked for them', async () => {
    const { page } = await stage()
    await page.click('#settings summary')
    expect(await page.isVisible('#reports')).toBe(false)
    expect(await page.isVisible('#reports-label')).toBe(false)
  })
})
