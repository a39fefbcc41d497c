import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Fetch } from '@keyturn/install-engine'
import { lookAtFolder, prepareInstallFolder } from '../src/player/install-folder.ts'
import type { PageBrand } from '../src/page/brand.ts'
import { startDaemon } from '../src/daemon/daemon.ts'
import type { Daemon } from '../src/daemon/daemon.ts'
import { offline, temporaryFolder, treeFetch, treeText } from '../../../packages/install-engine/test/support/install.ts'
import { contentKey, keyId, noise, NOW, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../packages/install-engine/test/support/publisher.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)
if (executablePath === undefined) console.info('No Chromium here: the page is not tested')
const shots = process.env['KEYTURN_SCREENSHOTS']

let browser: Browser
let daemon: Daemon | undefined
let open: Page | undefined

async function shot(page: Page, name: string): Promise<void> {
  if (shots === undefined) return
  mkdirSync(shots, { recursive: true })
  await page.screenshot({ path: join(shots, `${name}.png`) })
}

const client = 'setTimeout(() => process.exit(0), 600)'
const big = noise(3_000_000, 8)

async function stage(
  options: {
    locale?: string
    width?: number
    height?: number
    limit?: number
    colorScheme?: 'light' | 'dark'
    setup?: string
    brand?: PageBrand
  } = {},
) {
  const publisher = await Publisher.create()
  const key = contentKey(4)
  const files = { 'client.mjs': client, 'runtime-key.json': key.json, 'pack/a.bin': big }
  const extra = {
    format: 'm2pack',
    place: { contentKeys: [key.entry] },
    build: {
      notes:
        '# Winter\n\n- **New** map\n- <img src=x onerror=alert(1)>\n\n![remote](https://evil.example/x.png)\n\n' +
        '| Mount | Speed |\n|---|--:|\n| Wolf | [12](https://studio.example/wolf) |\n\n[run](javascript:alert(1))',
    },
  }
  await publisher.release(files, extra)
  const folder = await temporaryFolder()
  const wire = { fetch: treeFetch(publisher.tree) as Fetch }
  const links: string[] = []
  const quits: string[] = []
  const { setup, brand } = options
  daemon = await startDaemon({
    folder: setup ?? folder,
    brand,
    openLink: (address) => links.push(address),
    onQuit: () => quits.push('asked'),
    ...(setup === undefined
      ? {}
      : {
          stateFolder: folder,
          setup: {
            folder: setup,
            offerFolder: join(folder, 'offer'),
            look: lookAtFolder,
            choose: prepareInstallFolder,
          },
        }),
    check: false,
    settings: {
      server: 'http://releases.test/',
      trust: publisher.trust,
      program: ['client.mjs'],
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    },
    engine: {
      fetch: (url, init) => wire.fetch(url, init),
      clock: () => NOW + 1000,
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    },
  })
  const context = await browser.newContext({
    locale: options.locale ?? 'en-GB',
    viewport: { width: options.width ?? 900, height: options.height ?? 560 },
    colorScheme: options.colorScheme ?? 'light',
  })
  const requests: string[] = []
  open = await context.newPage()
  open.on('request', (request) => requests.push(request.url()))
  await open.goto(daemon.pageAddress())
  return { publisher, key, files, extra, folder, wire, page: open, requests, links, quits }
}

async function text(page: Page, selector: string): Promise<string> {
  return (await page.textContent(selector)) ?? ''
}

async function until(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await page.waitForFunction(
    ([where, source, flags]) =>
      new RegExp(source ?? '', flags).test(document.querySelector(where ?? '')?.textContent ?? ''),
    [selector, pattern.source, pattern.flags],
    { timeout: 60_000 },
  )
}

describe.skipIf(executablePath === undefined)('the page', () => {
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

  it('installs, pauses and resumes, plays, takes a delta, and goes back', async () => {
    const { page, publisher, files, extra, folder, requests } = await stage({ limit: 2_000_000 })
    await until(page, '#play', /^Install$/)
    await shot(page, '01-empty')
    await page.click('#play')
    await page.waitForSelector('#pause:not([hidden])')
    await until(page, '#figures', /MB of/)
    await shot(page, '02-downloading')
    const asked = page.waitForEvent('dialog')
    await page.close({ runBeforeUnload: true }) // the download would go on without a window
    const dialog = await asked
    expect(dialog.type()).toBe('beforeunload')
    await dialog.dismiss()
    await page.click('#pause')
    await until(page, '#banner', /Paused/)
    await until(page, '#state', /^Paused$/)
    await until(page, '#figures', /^[\d.]+ [kM]?B of 3\.00 MB$/) // neither a rate nor a time left while nothing moves
    expect(await page.isVisible('#play')).toBe(false) // one button stands out, and it is the one that goes on
    expect(await page.getAttribute('#pause', 'class')).toBe('main')
    await shot(page, '03-paused')
    await page.click('#pause')
    await until(page, '#release', /2026\.11\.21-1/)
    await until(page, '#state', /Ready to play/)
    expect(await text(page, '#trust')).toMatch(/^Genuine and up to date\.$/)
    expect(await page.innerHTML('#notes')).toContain('&lt;img src=x')
    expect(await page.locator('#notes img').count()).toBe(0)
    await shot(page, '04-ready')
    const edited = big.slice()
    edited.set(noise(60, 2), 1_500_000)
    await publisher.release({ ...files, 'pack/a.bin': edited }, extra)
    await page.click('#update')
    await until(page, '#release', /2026\.11\.21-2/)
    await until(page, '#state', /Ready to play/)
    const second = await treeText(folder)
    await shot(page, '09-after-a-delta')
    await page.click('#rollback')
    await until(page, '#release', /2026\.11\.21-1/)
    expect(await treeText(folder)).not.toBe(second)
    await until(page, '#trust', /^Genuine\. The newest known version is 2026\.11\.21-2\.$/)
    await shot(page, '13-gone-back')
    await until(page, '#state', /Ready to play/)
    await page.click('#play')
    await until(page, '#state', /The game is running/)
    await shot(page, '05-running')
    await until(page, '#state', /Ready to play/)
    expect(requests.every((url) => url.startsWith(daemon?.address ?? 'nothing'))).toBe(true)
  })

  it('plays offline and says so', async () => {
    const { page, wire } = await stage()
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    wire.fetch = offline
    await page.click('#update')
    await until(page, '#banner', /Could not check for updates/)
    await shot(page, '06-offline')
    await page.click('#play')
    await until(page, '#state', /The game is running/)
  })

  it('shows a refused signature and bars play until the player decides', async () => {
    const { page, publisher, files, extra } = await stage()
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    const bad = await publisher.release({ ...files, 'x.txt': 'x' }, extra)
    const bytes = bad.bytes.slice()
    bytes[bytes.length - 40] = (bytes[bytes.length - 40] ?? 0) ^ 1
    publisher.tree.set(`channels/stable/manifests/${bad.model.version}.json`, bytes)
    await page.click('#play')
    await until(page, '#banner', /not genuine and was refused.*LA_BARRED/)
    await shot(page, '07-refused')
    await page.click('#banner button')
    await until(page, '#state', /The game is running/)
  })

  it('speaks Czech, by the keyboard alone, in the dark, at a phone’s width', async () => {
    const { page } = await stage({ locale: 'cs-CZ', width: 360, height: 740, colorScheme: 'dark' })
    await until(page, '#play', /^Nainstalovat$/)
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.focus('#play')
    await page.keyboard.press('Enter')
    await until(page, '#state', /Připraveno ke hře/)
    await shot(page, '08-phone-cs')
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
    expect(widths[0]).toBeLessThanOrEqual(widths[1] ?? 0)
    await page.click('#settings summary')
    await page.fill('#limit', '0,5') // in MB/s, as downloads are shown, with the comma of many languages
    await shot(page, '10-phone-settings-cs')
    await page.selectOption('#language', 'en')
    await page.click('#save')
    await until(page, '#play', /^Play$/)
    expect((await daemon?.supervisor.snapshot())?.settings).toMatchObject({ limit: 500_000, language: 'en' })
  })

  it('shows tables of the notes, and their links in the browser of the player, who is asked first', async () => {
    const { page, links, requests } = await stage({ width: 360, height: 740 })
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    expect(await page.locator('#notes tr').allInnerTexts()).toEqual(['Mount\tSpeed', 'Wolf\t12'])
    expect(await page.locator('#notes a').count()).toBe(1) // an address that is not https stays text
    const asked: string[] = []
    for (const answer of [false, true]) {
      page.once('dialog', (dialog) => {
        asked.push(dialog.message())
        void (answer ? dialog.accept() : dialog.dismiss())
      })
      await page.click('#notes a')
      await expect.poll(() => links.length).toBe(answer ? 1 : 0)
    }
    expect(asked).toEqual(Array(2).fill('Open https://studio.example/wolf in your browser?'))
    expect(links).toEqual(['https://studio.example/wolf'])
    const refused = await page.evaluate(async () => {
      const headers = {
        authorization: `Bearer ${sessionStorage.getItem('session')}`,
        'content-type': 'application/json',
      }
      const body = JSON.stringify({ address: 'https://evil.example/x.png?' })
      return (await fetch('/api/open-link', { method: 'POST', headers, body })).status
    })
    expect(refused).toBe(400)
    expect(requests.filter((url) => !url.startsWith('http://127.0.0.1:'))).toEqual([])
  })

  it('says in Czech that a release must not be played, and offers no way around it', async () => {
    const { page, publisher } = await stage({ locale: 'cs-CZ', colorScheme: 'dark' })
    await page.click('#play')
    await until(page, '#state', /Připraveno ke hře/)
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1')],
    }))
    await publisher.head(publisher.last as MadeRelease)
    await page.click('#update')
    await until(page, '#banner', /Vydavatel tuto verzi stáhl.*Vyhledejte aktualizace.*TRUST_LOST/)
    await until(page, '#state', /^Tuto verzi nelze hrát$/)
    expect(await page.isDisabled('#play')).toBe(true)
    expect(await page.locator('#banner button').count()).toBe(0)
    await page.click('#settings summary')
    await shot(page, '11-barred-cs-dark')
    await publisher.resign(publisher.last as MadeRelease, ['release 2'])
    await page.click('#update')
    await until(page, '#trust', /^Pravá/)
    await page.waitForSelector('#play:not([disabled])')
  })

  it('shows a refusal on a phone in full', async () => {
    const { page, publisher, files, extra } = await stage({ width: 360, height: 740 })
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    const bad = await publisher.release({ ...files, 'x.txt': 'x' }, extra)
    publisher.tree.set(
      `channels/stable/manifests/${bad.model.version}.json`,
      bad.bytes.map((byte, at) => (at === bad.bytes.length - 40 ? byte ^ 1 : byte)),
    )
    await page.click('#play')
    await until(page, '#banner', /not genuine and was refused/)
    await shot(page, '12-phone-refused')
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
    expect(widths[0]).toBeLessThanOrEqual(widths[1] ?? 0)
  })

  it('does not speak of a key where the release has none', async () => {
    const { page, publisher } = await stage()
    await publisher.release({ 'client.mjs': client })
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    expect(await text(page, '#key')).toBe('not needed by this version')
    await shot(page, '14-no-key')
  })

  it('fits 900 by 560 without scrolling sideways', async () => {
    const { page } = await stage()
    await page.click('#play')
    await until(page, '#state', /Ready to play/)
    const sizes = await page.evaluate(() => [
      document.documentElement.scrollWidth,
      window.innerWidth,
      document.documentElement.scrollHeight,
      window.innerHeight,
    ])
    expect(sizes[0]).toBeLessThanOrEqual(sizes[1] ?? 0)
    expect(sizes[2]).toBeLessThanOrEqual(sizes[3] ?? 0)
  })

  const pictured = [
    ['en', 'light', 960, 640],
    ['de', 'dark', 960, 640],
    ['ja', 'light', 360, 640],
    ['ru', 'dark', 360, 640],
  ] as const
  it.each(pictured)('asks for a folder and installs as the studio’s own page, in %s, %s, %i wide', async (...of) => {
    const [locale, colorScheme, width, height] = of
    const folder = join(await temporaryFolder(), 'game')
    const brand = { name: 'Winter’s Fall', accent: '#b3202a', languages: [] }
    const { page, quits } = await stage({ locale, colorScheme, width, height, setup: folder, brand })
    await page.waitForSelector('#setup:not([hidden])')
    expect(await text(page, 'h1')).toBe(brand.name)
    expect(await page.title()).toBe(brand.name)
    await page.waitForFunction((wanted) => document.documentElement.lang === wanted, locale)
    await page.selectOption('#setup-language', 'cs')
    await until(page, '#setup-install', /^Nainstalovat$/)
    await page.selectOption('#setup-language', locale)
    await page.waitForFunction((wanted) => document.documentElement.lang === wanted, locale)
    await shot(page, `20-setup-${locale}`)
    await page.fill('#setup-folder', '/etc/passwd')
    await page.waitForSelector('#setup-install:disabled')
    await shot(page, `21-setup-refused-${locale}`)
    await page.fill('#setup-folder', folder)
    await page.click('#setup-install')
    await page.waitForSelector('#play:not([disabled])')
    await page.click('#details summary')
    const [scrolled, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
    expect(scrolled).toBeLessThanOrEqual(seen as number)
    await shot(page, `22-installed-${locale}`)
    expect((await daemon?.supervisor.snapshot())?.settings).toMatchObject({ language: locale })
    await page.click('#settings summary')
    await page.click('#quit')
    await expect.poll(() => quits).toEqual(['asked'])
  })
})
