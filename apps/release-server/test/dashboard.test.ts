import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unixHeadSigner } from '../src/head-signer/client.ts'
import { startHeadSigner } from '../src/head-signer/server.ts'
import { signerOf, TestPublisher } from './publisher.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'
import type { ReleaseServerOptions } from '../src/server.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
if (executablePath === undefined) console.info('No Chromium here: the dashboard is not tested')
const shots = process.env['KEYTURN_SCREENSHOTS']

let browser: Browser | undefined
beforeAll(async () => {
  if (executablePath !== undefined) browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
})
afterAll(() => browser?.close())

async function shot(page: Page, name: string): Promise<void> {
  if (shots === undefined) return
  mkdirSync(shots, { recursive: true })
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true })
}

async function stage(options: Partial<ReleaseServerOptions> = {}) {
  const running = await startServer(options)
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const first = await publisher.release({ 'a.txt': utf8Encode('a') })
  await publisher.publish(client, first)
  const second = await publisher.release({ 'a.txt': utf8Encode('a'), 'b.txt': utf8Encode('bb') })
  await publisher.publish(client, second, await publisher.head(second, { edit: (head) => ({ ...head, fallback: first.pin, rollout: { percent: 25, salt: 'ab'.repeat(16), paused: false } }) }))
  const page = await (browser as Browser).newPage()
  atEnd(() => page.close())
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('console', (message) => { if (message.type() === 'error' && !message.text().includes('401')) problems.push(message.text()) })
  await page.goto(`${running.url}/dashboard`)
  const logIn = async (): Promise<void> => {
    await page.getByLabel('Token').fill(await running.token(['admin']))
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Channels' }).waitFor()
    await page.getByText(`Release ${second.model.version}`).waitFor()
  }
  return { running, client, publisher, first, second, page, problems, logIn }
}

describe.skipIf(executablePath === undefined)('dashboard', () => {
  it('login, publish seen live, rollout waits for a head from the publisher, audit and due dates', async () => {
    const { client, publisher, first, second, page, problems, logIn, running } = await stage()
    await page.getByLabel('Token').fill('m2t_wrong')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByText('This token is not valid').waitFor()
    await logIn()
    expect(await page.context().cookies()).toMatchObject([{ name: 'keyturn_session', httpOnly: true, sameSite: 'Strict' }])
    await shot(page, 'dashboard')
    const channel = page.getByRole('article', { name: 'Channel stable' })
    await channel.getByRole('slider', { name: 'Rollout' }).focus()
    await page.keyboard.press('End')
    await channel.getByRole('button', { name: 'Move rollout' }).click()
    await channel.getByText('Waiting for a head from the publisher: rollout to 100 %').waitFor()
    await shot(page, 'dashboard-waiting')
    const head = await publisher.head(second, { edit: (model) => ({ ...model, fallback: first.pin, rollout: { percent: 100, salt: 'ab'.repeat(16), paused: false } }) })
    await client.publish('metin2', 'stable', { version: second.model.version, head })
    await channel.getByText('Waiting for a head').waitFor({ state: 'detached' })
    await page.getByRole('status').getByText('channel.publish').waitFor()
    await page.getByRole('button', { name: `Compare ${second.model.version}` }).click()
    await page.getByText(`2 B from ${first.model.version}`).waitFor()
    expect(await page.locator('#trust').innerText()).toContain('Role document')
    expect(await page.locator('#audit').innerText()).toContain('channel.publish')
    // Nothing but the server's own files is loaded, nothing inline runs.
    expect((await (await fetch(`${running.url}/dashboard`)).headers).get('content-security-policy')).toContain("default-src 'none'")
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('Token').waitFor()
    expect(problems).toEqual([])
  })

  it('with a head signer the rollout moves and halts at once', async () => {
    const socket = join(await temporaryFolder(), 'signer.sock')
    const { client, publisher, page, logIn, problems } = await stage({ headSigner: unixHeadSigner(socket) })
    const signer = await startHeadSigner({ socket, mode: 'auto', pin: publisher.pin, signer: signerOf('head 1'), fetchPublic: (path) => client.fetchPublic(path) })
    atEnd(() => signer.close())
    await logIn()
    const channel = page.getByRole('article', { name: 'Channel stable' })
    await channel.getByRole('button', { name: 'Halt' }).click()
    await channel.getByText('Halted: nobody new gets this release').waitFor()
    await shot(page, 'dashboard-halted')
    await channel.getByRole('button', { name: 'Resume' }).click()
    await channel.getByRole('button', { name: 'Halt' }).waitFor()
    expect((await client.getChannel('metin2', 'stable'))?.rollout).toMatchObject({ paused: false, percent: 25 })
    expect(problems).toEqual([])
  })

  it('every control has a name and the whole page works from the keyboard', async () => {
    const { page, logIn } = await stage()
    await logIn()
    const nameless = await page.$$eval('button, input, select, a, meter', (nodes) => nodes.filter((node) => node.checkVisibility() && (node.getAttribute('aria-label') ?? node.textContent ?? '').trim() === '' && (node as HTMLInputElement).labels?.length !== 1).map((node) => node.outerHTML))
    expect(nameless).toEqual([])
    const seen = new Set<string>()
    for (let at = 0; at < 20; at++) {
      await page.keyboard.press('Tab')
      seen.add(await page.evaluate(() => (document.activeElement?.id ?? '') || (document.activeElement?.textContent ?? '')))
    }
    expect([...seen]).toEqual(expect.arrayContaining(['rollout-stable', 'Move rollout', 'Halt', 'logout']))
  })

  it('a page of another origin cannot use the session', async () => {
    const { running, page, logIn } = await stage()
    await logIn()
    const [cookie] = await page.context().cookies()
    const call = (origin: string | undefined) => fetch(`${running.url}/v1/products/metin2/channels/stable:halt`, {
      method: 'POST', body: '{"reason":"x"}', headers: { 'content-type': 'application/json', cookie: `${cookie?.name}=${cookie?.value}`, ...(origin === undefined ? {} : { origin }) },
    })
    expect(await (await call('https://evil.example')).json()).toMatchObject({ code: 'SRV_ORIGIN', status: 403 })
    expect((await call(undefined)).status).toBe(403)
    expect((await call(running.url)).status).toBe(202)
  })
})
