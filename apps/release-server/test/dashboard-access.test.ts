import { createServer } from 'node:http'
import { describe, expect, it } from 'vitest'
import { executablePath, openPage, shot, stage } from './dashboard-stage.ts'
import { atEnd } from './support.ts'
import type { RunningServer } from './support.ts'

const rowOf = (page: Awaited<ReturnType<typeof stage>>['page'], table: string, text: string) =>
  page.locator(`#${table} tbody tr`).filter({ hasText: text }).first()

function works(running: RunningServer, secret: string): Promise<Response> {
  return fetch(`${running.url}/v1/products`, { headers: { authorization: `Bearer ${secret}` } })
}

describe.skipIf(executablePath === undefined)('access in the dashboard', () => {
  it('tokens are made, listed by name and revoked on the page; the secret is shown once', async () => {
    const { running, page, problems, logIn } = await stage()
    await logIn()
    const section = page.getByRole('region', { name: 'Tokens' }).first()
    await section.waitFor()
    await page.getByText('New token').click()
    await page.getByLabel('Name', { exact: true }).fill('<b>Ann & Co</b>')
    await page.getByRole('button', { name: 'Make the token' }).click()
    await page.getByText('Choose what the token may do').waitFor()
    await page.getByLabel('releases:read').check()
    await page.getByLabel('Only these channels').fill('stable, beta')
    await shot(page, 'server-token-form')
    await page.getByRole('button', { name: 'Make the token' }).click()
    const secret = await page.locator('#token-secret code').innerText()
    expect(secret).toMatch(/^m2t_[a-z0-9]{16}_[A-Za-z0-9_-]{43}$/)
    expect((await works(running, secret)).status).toBe(200)
    await shot(page, 'server-token-secret')
    const row = rowOf(page, 'tokens', 'Ann & Co')
    expect(await row.innerText()).toMatch(/<b>Ann & Co<\/b>\s+releases:read\s+channel stable, channel beta\s+valid/)
    await page.getByRole('button', { name: 'I have stored it' }).click()
    expect(await page.content()).not.toContain(secret)
    // The log shows the name of the token that was made, not its id.
    await expect.poll(() => rowOf(page, 'audit', 'token.create').innerText()).toContain('<b>Ann & Co</b>')
    await row.getByRole('button', { name: /^Revoke/ }).click()
    await page.getByRole('button', { name: 'Revoke "<b>Ann & Co</b>"' }).click()
    await row.getByText('revoked', { exact: true }).waitFor()
    expect((await works(running, secret)).status).toBe(401)
    expect(problems).toEqual([])
  })

  it('a limited administrator gives no more than it has, and sees sessions by name', async () => {
    const { running, page, problems } = await stage()
    const { server } = running
    const limits = { scopes: ['admin'] as const, products: ['metin2'], channels: ['stable'] }
    const { secret } = await server.createToken({ name: 'Lead of stable', ...limits })
    await server.createToken({ name: 'Somebody far', scopes: ['releases:read'] })
    await page.getByLabel('Token', { exact: true }).fill(secret)
    await page.keyboard.press('Enter')
    await page.getByText('live', { exact: true }).waitFor()
    expect(await page.locator('#who').innerText()).toBe('Lead of stable')
    expect(await page.locator('#sessions').innerText()).toContain('Lead of stable')
    expect(await page.locator('#tokens').innerText()).not.toContain('Somebody far')
    await page.getByText('New token').click()
    expect(await page.getByLabel('Only these channels').inputValue()).toBe('stable')
    await page.getByLabel('Name', { exact: true }).fill('wider')
    await page.getByLabel('releases:read').check()
    await page.getByLabel('Only these channels').fill('')
    await page.getByRole('button', { name: 'Make the token' }).click()
    await page.getByText('Cannot create a token that reaches further than your own').waitFor()
    await page.getByLabel('Only these channels').fill('stable')
    await page.getByRole('button', { name: 'Make the token' }).click()
    await rowOf(page, 'tokens', 'wider').waitFor()
    const other = await openPage()
    await other.page.goto(`${running.url}/dashboard`)
    const narrow = await server.createToken({ name: 'Tester', ...limits, scopes: ['releases:read'] })
    await other.page.getByLabel('Token', { exact: true }).fill(narrow.secret)
    await other.page.keyboard.press('Enter')
    await other.page.getByText('live', { exact: true }).waitFor()
    await page.reload()
    await rowOf(page, 'sessions', 'Tester').getByRole('button').click()
    await page.getByRole('button', { name: 'End this session' }).click()
    await rowOf(page, 'sessions', 'Tester').waitFor({ state: 'detached' })
    await other.page.reload()
    await other.page.getByRole('heading', { name: 'Log in' }).waitFor()
    expect(problems.filter((text) => !text.includes('403'))).toEqual([])
  })

  it('webhooks are made, pinged, paused and removed on the page', async () => {
    const got: string[] = []
    const receiver = createServer((request, response) => {
      let body = ''
      request
        .on('data', (part) => {
          body += String(part)
        })
        .on('end', () => {
          got.push(body)
          response.writeHead(204).end()
        })
    })
    await new Promise<void>((resolve) => {
      receiver.listen(0, '127.0.0.1', resolve)
    })
    atEnd(async () => {
      receiver.close()
    })
    const url = `http://127.0.0.1:${(receiver.address() as { port: number }).port}/hook`
    const { page, problems, logIn } = await stage()
    await logIn()
    await page.getByText('No webhooks').waitFor()
    await page.getByText('New webhook').click()
    await page.getByLabel('Address').fill('ftp://chat.example/x')
    await page.getByRole('button', { name: 'Make the webhook' }).click()
    await page.getByText('Cannot use this webhook address').waitFor()
    await page.getByLabel('Address').fill(url)
    await page.getByLabel('Events').fill('channel.halt channel.publish')
    await page.getByRole('button', { name: 'Make the webhook' }).click()
    expect(await page.locator('#webhook-secret code').innerText()).toMatch(/^whsec_/)
    const row = rowOf(page, 'webhooks', url)
    expect(await row.innerText()).toMatch(/channel\.halt, channel\.publish\s+on\s+nothing sent yet/)
    await row.getByRole('button', { name: 'Send a ping' }).click()
    await row.getByText('delivered').waitFor()
    expect(await row.innerText()).toContain('answered 204')
    expect(got.map((body) => (JSON.parse(body) as { type: string }).type)).toEqual(['webhook.test'])
    await shot(page, 'server-webhooks')
    await row.getByRole('button', { name: /^Pause/ }).click()
    await row.getByText('paused', { exact: true }).waitFor()
    expect(await row.getByRole('button', { name: 'Send a ping' }).isDisabled()).toBe(true)
    await row.getByRole('button', { name: /^Resume/ }).click()
    await row.getByText('on', { exact: true }).waitFor()
    await row.getByRole('button', { name: /^Remove/ }).click()
    await page.getByRole('button', { name: 'Remove this webhook' }).click()
    await page.getByText('No webhooks').waitFor()
    expect(problems.filter((text) => !text.includes('400'))).toEqual([])
  })
})
