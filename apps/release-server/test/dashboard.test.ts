import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { unixHeadSigner } from '../src/head-signer/client.ts'
import { startHeadSigner } from '../src/head-signer/server.ts'
import { executablePath, openPage, shot, stage } from './dashboard-stage.ts'
import { signerOf } from './publisher.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'

const salt = 'ab'.repeat(16)

describe.skipIf(executablePath === undefined)('dashboard', () => {
  it('login, live publishing; rollout and halt wait for a head from the publisher', async () => {
    const { client, publisher, first, second, page, problems, logIn, running } = await stage()
    await shot(page, 'server-login')
    await page.getByLabel('Token', { exact: true }).fill('m2t_wrong')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByText('This token is not valid').waitFor()
    await logIn()
    expect(await page.context().cookies()).toMatchObject([
      { name: 'keyturn_session', httpOnly: true, sameSite: 'Strict' },
    ])
    await shot(page, 'server-dashboard')
    // People read names of tokens, not ids.
    expect(await page.locator('#who').innerText()).toBe('test')
    expect(await page.locator('#audit').innerText()).toMatch(/\btest\b/)
    expect(await page.locator('#audit').innerText()).not.toMatch(/token:[a-z0-9]{16}/)
    const channel = page.getByRole('article', { name: 'Channel stable' })
    await channel.getByRole('slider', { name: 'Rollout' }).focus()
    await page.keyboard.press('End')
    await channel.getByRole('button', { name: 'Move rollout' }).click()
    await channel.getByText('Waiting for a head from the publisher: a rollout of 100 %').waitFor()
    await shot(page, 'server-waiting')
    const head = await publisher.head(second, {
      edit: (model) => ({ ...model, fallback: first.pin, rollout: { percent: 100, salt, paused: false } }),
    })
    await client.publish('metin2', 'stable', { version: second.model.version, head })
    await channel.getByText('Waiting for a head').waitFor({ state: 'detached' })
    await page.getByRole('status').getByText('channel.publish').waitFor()
    await channel.getByRole('button', { name: 'Halt', exact: true }).click()
    await channel.getByRole('button', { name: /^Halt release 2/ }).click()
    await channel.getByText('Waiting for a head from the publisher: a halt').waitFor()
    await channel.getByRole('button', { name: 'Withdraw the request' }).click()
    await channel.getByText('Waiting for a head').waitFor({ state: 'detached' })
    await channel.getByRole('button', { name: 'Halt', exact: true }).click()
    await channel.getByRole('button', { name: /^Halt release 2/ }).click()
    await channel.getByText('Waiting for a head from the publisher: a halt').waitFor()
    expect((await client.getChannel('metin2', 'stable'))?.wanted).toMatchObject({ action: 'halt' })
    await client.publish('metin2', 'stable', {
      version: second.model.version,
      head: await publisher.head(second, {
        edit: (model) => ({ ...model, fallback: first.pin, rollout: { percent: 100, salt, paused: true } }),
      }),
    })
    await channel.getByText('Halted: no other player gets this release').waitFor()
    expect(await page.locator('#audit').innerText()).toContain('channel.halt')
    // Nothing but the server's own files is loaded, nothing inline runs.
    expect((await (await fetch(`${running.url}/dashboard`)).headers).get('content-security-policy')).toContain(
      "default-src 'none'",
    )
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('heading', { name: 'Log in' }).waitFor()
    expect(problems).toEqual([])
  })

  it('rollout changed and halted at once with a head signer', async () => {
    const socket = join(await temporaryFolder(), 'signer.sock')
    const { client, publisher, page, logIn, problems } = await stage({ headSigner: unixHeadSigner(socket) })
    const signer = await startHeadSigner({
      socket,
      mode: 'auto',
      pin: publisher.pin,
      signer: signerOf('head 1'),
      fetchPublic: (path) => client.fetchPublic(path),
    })
    atEnd(() => signer.close())
    await logIn()
    const channel = page.getByRole('article', { name: 'Channel stable' })
    await channel.getByRole('slider', { name: 'Rollout' }).focus()
    for (let step = 0; step < 5; step++) await page.keyboard.press('ArrowRight')
    await channel.getByRole('button', { name: 'Move rollout' }).click()
    await expect
      .poll(async () => (await client.getChannel('metin2', 'stable'))?.rollout?.percent, { timeout: 30_000 })
      .toBe(30)
    await channel.getByRole('button', { name: 'Halt', exact: true }).click()
    await channel.getByRole('button', { name: /^Halt release 2/ }).click()
    await channel.getByText('Halted: no other player gets this release').waitFor()
    await shot(page, 'server-halted')
    await channel.getByText('Commands that need a key').click()
    await channel.getByText(`keyturn release rollback`).waitFor()
    await page.getByText('Head signer: connected; changes take effect at once').waitFor()
    await page.setViewportSize({ width: 360, height: 780 })
    await shot(page, 'server-phone')
    await page.emulateMedia({ colorScheme: 'dark' })
    await shot(page, 'server-phone-dark')
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
    await page.setViewportSize({ width: 1280, height: 900 })
    await channel.getByRole('button', { name: 'Resume' }).click()
    await channel.getByRole('button', { name: 'Halt', exact: true }).waitFor()
    expect((await client.getChannel('metin2', 'stable'))?.rollout).toMatchObject({ paused: false, percent: 30 })
    expect(problems).toEqual([])
  })

  it('shows keys with ages, due dates and overlap, storage, adoption, differences in bytes and webhooks', async () => {
    const { running, page, logIn, problems, first, second } = await stage({}, { colorScheme: 'dark' })
    const admin = { authorization: `Bearer ${await running.token(['admin'])}`, 'content-type': 'application/json' }
    await fetch(`${running.url}/v1/webhooks`, {
      method: 'POST',
      headers: admin,
      body: JSON.stringify({ url: 'https://chat.example/hook', events: ['channel.publish'] }),
    })
    await logIn()
    const rowOf = (table: string, text: string) =>
      page.locator(`#${table} tbody tr`).filter({ hasText: text }).first().innerText()
    expect(await rowOf('keys', 'key_id 2')).toMatch(/active\s+0 days/)
    expect(await rowOf('keys', 'key_id 1')).toMatch(/retired\s+150 days\s+–/)
    expect(await rowOf('keys', 'Head key')).toMatch(/active\s+150 days\s+rotate it now/)
    expect(await rowOf('keys', 'Release key')).toMatch(/active\s+150 days\s+due soon/)
    expect(await rowOf('keys', 'retiring')).toMatch(/Transport key.*\d{4}-\d\d-\d\d/s)
    expect(await rowOf('trust', 'Role document')).toMatch(/version 1\s+\d{4}-\d\d-\d\d in \d+ days/)
    expect(await page.locator('#storage').innerText()).toMatch(/Blobs\s+6 in a folder\s+Size\s+30\d kB/)
    expect(await rowOf('adoption', first.model.version)).toMatch(/14\s+\d+ %\s+4/)
    expect(await rowOf('webhooks', 'chat.example')).toContain('channel.publish')
    await page.getByRole('button', { name: `Compare ${second.model.version}` }).click()
    await page.getByText(/kB from .*: 2 added, 0 changed, 0 removed/).waitFor()
    await shot(page, 'server-dark')
    expect(problems).toEqual([])
  })

  it('every control has a name, every table a caption, and the whole page works from the keyboard and on a small screen', async () => {
    const { page, logIn } = await stage({}, { viewport: { width: 390, height: 800 } })
    await logIn()
    const nameless = await page.$$eval('button, input, select, a, svg, [role=region]', (nodes) =>
      nodes
        .filter(
          (node) =>
            node.checkVisibility() &&
            node.closest('[aria-hidden=true]') === null &&
            !node.hasAttribute('aria-labelledby') &&
            (node.getAttribute('aria-label') ?? node.textContent ?? '').trim() === '' &&
            (node as HTMLInputElement).labels?.length !== 1,
        )
        .map((node) => node.outerHTML),
    )
    expect(nameless).toEqual([])
    expect(
      await page.$$eval(
        'table',
        (nodes) => nodes.filter((node) => node.checkVisibility() && node.caption === null).length,
      ),
    ).toBe(0)
    expect(await page.getByRole('slider', { name: 'Rollout' }).getAttribute('aria-valuetext')).toBe('25 %')
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur())
    const seen: string[] = []
    for (let at = 0; at < 60; at++) {
      await page.keyboard.press('Tab')
      seen.push(
        await page.evaluate(
          () =>
            document.activeElement?.id ||
            document.activeElement?.getAttribute('aria-labelledby') ||
            (document.activeElement?.textContent ?? ''),
        ),
      )
    }
    expect(seen).toEqual(
      expect.arrayContaining([
        'Skip to content',
        'logout',
        'rollout-stable',
        'Move rollout',
        'Halt',
        'h-releases',
        'h-keys',
        'h-audit',
      ]),
    )
    // Nothing makes the page wider than the screen.
    expect(
      await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
    ).toBeLessThanOrEqual(0)
    await shot(page, 'server-small')
  })

  it('shows a limited token what it may see and nothing else; an empty server says that it is empty', async () => {
    const running = await startServer()
    const { page, problems } = await openPage()
    await page.goto(`${running.url}/dashboard`)
    await page.getByLabel('Token', { exact: true }).fill(await running.token(['releases:read']))
    await page.keyboard.press('Enter')
    await page.getByText('There is no product yet').waitFor()
    const staged = await stage()
    await page.goto(`${staged.running.url}/dashboard`)
    await page.getByLabel('Token', { exact: true }).fill(await staged.running.token(['releases:read']))
    await page.keyboard.press('Enter')
    await page.getByText('live', { exact: true }).waitFor()
    expect(await page.getByRole('heading', { level: 2 }).allInnerTexts()).toEqual([
      'Channels',
      'Releases',
      'Keys and due dates',
      'Log and roles',
    ])
    expect(await page.getByRole('button', { name: 'Halt', exact: true }).isDisabled()).toBe(true)
    expect(problems).toEqual([])
  })

  it('a page of another origin cannot use the session', async () => {
    const { running, page, logIn } = await stage()
    await logIn()
    const [cookie] = await page.context().cookies()
    const call = (origin: string | undefined) =>
      fetch(`${running.url}/v1/products/metin2/channels/stable:halt`, {
        method: 'POST',
        body: '{"reason":"x"}',
        headers: {
          'content-type': 'application/json',
          cookie: `${cookie?.name}=${cookie?.value}`,
          ...(origin === undefined ? {} : { origin }),
        },
      })
    expect(await (await call('https://evil.example')).json()).toMatchObject({ code: 'SRV_ORIGIN', status: 403 })
    expect((await call(undefined)).status).toBe(403)
    expect((await call(running.url)).status).toBe(202)
  })
})
