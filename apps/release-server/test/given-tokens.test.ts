import { expect, it } from 'vitest'
import type { NewToken } from '@keyturn/release-client'
import { startServer } from './support.ts'

const refused = { code: 'SRV_SCOPE' }

it('a limited administrator makes, sees and revokes tokens within its limit only', async () => {
  const running = await startServer()
  const whole = await running.client(['admin'])
  const limited = await running.client(['admin'], { products: ['game'] })
  const beta = await running.client(['admin'], { products: ['game'], channels: ['beta'] })
  const far = await whole.createToken({ name: 'far', scopes: ['releases:read'] })
  const other = await whole.createToken({ name: 'other', scopes: ['releases:read'], products: ['other'] })
  const both = await whole.createToken({ name: 'both', scopes: ['releases:read'], products: ['game', 'other'] })
  const near = await limited.createToken({ name: 'near', scopes: ['admin'], products: ['game'] })
  const names = async (client: typeof whole) => (await client.listTokens()).map(({ name }) => name)
  expect((await names(limited)).filter((name) => name !== 'test')).toEqual(['near'])
  expect((await names(beta)).filter((name) => name !== 'test')).toEqual([])
  expect(await names(whole)).toEqual(expect.arrayContaining(['far', 'other', 'both', 'near']))

  const wide: NewToken[] = [
    { name: 'x', scopes: ['releases:read'] },
    { name: 'x', scopes: ['releases:read'], products: [] },
    { name: 'x', scopes: ['releases:read'], products: ['other'] },
    { name: 'x', scopes: ['releases:read'], products: ['game', 'other'] },
    { name: 'x', scopes: ['releases:read'], channels: ['beta'] },
  ]
  for (const token of wide) await expect(limited.createToken(token)).rejects.toMatchObject(refused)
  await expect(beta.createToken({ name: 'x', scopes: ['releases:read'], products: ['game'] })).rejects.toMatchObject(
    refused,
  )
  for (const { token } of [far, other, both])
    await expect(limited.revokeToken(token.id)).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
  await expect(beta.revokeToken(near.token.id)).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
  await limited.revokeToken(near.token.id)
  expect((await whole.listTokens()).find(({ name }) => name === 'near')?.revoked_at).not.toBeNull()
})

it('a limited administrator makes no token that lives longer than its own', async () => {
  const running = await startServer()
  const { secret, token: own } = await (
    await running.client(['admin'])
  ).createToken({ name: 'short', scopes: ['admin'], products: ['game'], days: 7 })
  const create = async (days?: number) => {
    const answer = await fetch(`${running.url}/v1/tokens`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'x', scopes: ['releases:read'], products: ['game'], days }),
    })
    return (await answer.json()) as { code?: string; token?: { expires_at: string } }
  }
  expect(await create(8)).toMatchObject({ code: 'SRV_SCOPE', hint: 'Ask for 7 days at most' })
  const dayAfter = Date.parse(own.expires_at) + 86_400_000
  for (const days of [undefined, 7]) {
    const made = await create(days)
    expect(Date.parse(made.token?.expires_at ?? '')).toBeLessThan(dayAfter)
  }
})

it('a token with an upload quota makes no other token', async () => {
  const { server, url, client } = await startServer()
  const whole = await client(['admin'])
  const { secret } = await whole.createToken({ name: 'small', scopes: ['admin'], upload_quota: 1000 })
  const answer = await fetch(`${url}/v1/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'more', scopes: ['blobs:write'] }),
  })
  expect(await answer.json()).toMatchObject({ code: 'SRV_SCOPE' })
  expect((await server.context.metadata.list('tokens')).length).toBe(2)
})

it('sessions of others are listed with names, and ended, within the limit only', async () => {
  const running = await startServer()
  const whole = await running.client(['admin'])
  const limited = await running.client(['admin'], { products: ['game'] })
  const logIn = async (secret: string) =>
    await fetch(`${running.url}/dashboard/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: running.url },
      body: JSON.stringify({ token: secret }),
    })
  const ann = await whole.createToken({ name: 'Ann', scopes: ['releases:read'], products: ['game'] })
  const bob = await whole.createToken({ name: 'Bob', scopes: ['releases:read'] })
  for (const { secret } of [ann, bob]) await logIn(secret)
  const session = (await whole.listSessions()).find(({ actor }) => actor === `token:${bob.token.id}`)
  expect((await limited.listSessions()).map(({ actor }) => actor)).toEqual([`token:${ann.token.id}`])
  await expect(limited.endSession(session?.id ?? '')).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
  await whole.endSession(session?.id ?? '')
  const answer = await fetch(`${running.url}/v1/sessions`, {
    headers: { authorization: `Bearer ${await running.token(['admin'])}` },
  })
  expect(await answer.json()).toMatchObject({ names: { [`token:${ann.token.id}`]: 'Ann' } })
  // Readers of the log see names too.
  const log = await fetch(`${running.url}/v1/audit?newest=true`, {
    headers: { authorization: `Bearer ${await running.token(['audit:read'])}` },
  })
  const { items, names } = (await log.json()) as { items: { actor: string }[]; names: Record<string, string> }
  expect(items.some(({ actor }) => names[actor] === 'test')).toBe(true)
})
