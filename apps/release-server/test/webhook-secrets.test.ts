import { createServer } from 'node:http'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ServerError } from '../src/errors.ts'
import { openServerVault } from '../src/keys/server-vault.ts'
import { createWebhook, rotateWebhookSecret, webhookHeaders, WebhookSender } from '../src/events/webhooks.ts'
import { WebhookSecrets } from '../src/events/webhook-secrets.ts'
import type { StoredSecrets } from '../src/events/webhook-secrets.ts'
import { ProblemError } from '@keyturn/release-client'
import { atEnd, startServer, temporaryFolder } from './support.ts'
import type { RunningServer } from './support.ts'

const vault = { passphrase: 'x', scryptLogN: 4 }

/** A receiver of webhooks that says yes and keeps what came. */
async function receiver(): Promise<{
  url: string
  got: { id: string; seconds: number; signatures: string[]; body: string }[]
}> {
  const got: { id: string; seconds: number; signatures: string[]; body: string }[] = []
  const server = createServer((request, response) => {
    let body = ''
    request
      .on('data', (part) => {
        body += String(part)
      })
      .on('end', () => {
        got.push({
          id: String(request.headers['webhook-id']),
          seconds: Number(request.headers['webhook-timestamp']),
          signatures: String(request.headers['webhook-signature']).split(' '),
          body,
        })
        response.writeHead(204).end()
      })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  atEnd(async () => {
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}/`, got }
}

async function call(
  running: RunningServer,
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, never> & { secret: string; webhook: { id: string } }> {
  const headers = {
    authorization: `Bearer ${await running.token(['admin'])}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  const answer = await fetch(running.url + path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return (answer.status === 204 ? {} : await answer.json()) as never
}

const signature = (secret: string, one: { id: string; seconds: number; body: string }): string =>
  webhookHeaders([secret], one.id, one.seconds, one.body)['webhook-signature'] ?? ''

it('secrets of webhooks are sealed where there is a vault, sign with old and new during a rotation, and are deleted with the webhook', async () => {
  const running = await startServer({ vault })
  const { url, got } = await receiver()
  const { secret, webhook } = await call(running, 'POST', '/v1/webhooks', { url, events: ['webhook.test'] })
  for (const name of await readdir(running.dataDir, { recursive: true })) {
    const bytes = await readFile(join(running.dataDir, name)).catch(() => Buffer.alloc(0))
    expect(bytes.includes(secret)).toBe(false)
  }
  const { secret: fresh } = await call(running, 'POST', `/v1/webhooks/${webhook.id}/turn`)
  await call(running, 'POST', `/v1/webhooks/${webhook.id}/test`)
  await expect.poll(() => got.length, { timeout: 30_000 }).toBe(1)
  const [one] = got
  expect(one?.signatures).toEqual([fresh, secret].map((each) => signature(each, one as never)))
  expect(JSON.stringify(await call(running, 'GET', '/v1/webhooks'))).not.toMatch(/secret|sealed/)
  await call(running, 'DELETE', `/v1/webhooks/${webhook.id}`)
  expect(
    (await running.server.context.metadata.list('vault-records')).filter(({ key }) => key.includes('webhooks')),
  ).toEqual([])
})

it.each([
  ['with a vault', { vault }],
  ['without one', {}],
])('rotations at the same time follow one another, %s: the newest two secrets sign', async (_name, options) => {
  const { server } = await startServer(options)
  const { context } = server
  const secrets = new WebhookSecrets(
    'vault' in options ? await openServerVault(context.metadata, vault, context.random) : undefined,
  )
  const caller = { actor: 'test', requestId: 'test' }
  const { webhook } = await createWebhook(context, secrets, { url: 'http://127.0.0.1:1/', events: [] }, caller)
  const given = await Promise.all([1, 2, 3].map(() => rotateWebhookSecret(context, secrets, webhook.id, caller)))
  const kept = await secrets.read(
    webhook.id,
    (await context.metadata.get('webhooks', webhook.id))?.value as StoredSecrets,
  )
  expect(kept).toHaveLength(2)
  // Every secret that signs was shown to somebody; the one from before the rotations is gone, as after three in a row.
  expect(given.map(({ secret }) => secret)).toEqual(expect.arrayContaining([...kept]))
})

it('secrets from before there was a vault are sealed by the first start with one; without it deliveries wait', async () => {
  const dataDir = await temporaryFolder()
  const before = await startServer({ dataDir })
  const { url, got } = await receiver()
  const { secret, webhook } = await call(before, 'POST', '/v1/webhooks', { url, events: ['webhook.test'] })
  await before.server.close()
  const sealed = await startServer({ dataDir, vault })
  const { metadata } = sealed.server.context
  expect((await metadata.get('webhooks', webhook.id))?.value).toMatchObject({ sealed: true })
  expect(JSON.stringify((await metadata.get('webhooks', webhook.id))?.value)).not.toContain(secret)
  const stored = (await metadata.get('webhooks', webhook.id))?.value as { sealed: boolean }
  await expect(new WebhookSecrets(undefined).read(webhook.id, stored)).rejects.toThrow(ServerError)
  const warned: unknown[] = []
  const silent = {
    ...sealed.server.context,
    log: { ...sealed.server.context.log, warn: (fields: unknown) => warned.push(fields) },
  }
  await metadata.transaction([], (records) =>
    records.put('deliveries', {
      key: 'msg_000000009999',
      value: { webhook: webhook.id, body: '{}', attempt: 0, next_ms: 0 },
    }),
  )
  await new WebhookSender(silent, new WebhookSecrets(undefined)).flush()
  expect(warned).toMatchObject([{ code: 'SRV_UNAVAILABLE' }])
  await call(sealed, 'POST', `/v1/webhooks/${webhook.id}/test`)
  await expect.poll(() => got.length, { timeout: 30_000 }).toBeGreaterThan(0)
  expect(got.at(-1)?.signatures).toEqual([signature(secret, got.at(-1) as never)])
})

it('ProblemError.read() stops at its limit, whatever length was announced', async () => {
  let pulled = 0
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      pulled += 1
      controller.enqueue(new Uint8Array(64 * 1024).fill(0x20))
    },
  })
  expect(await ProblemError.read(new Response(endless, { status: 502 }), 'try')).toMatchObject({
    code: 'SRV_STORAGE',
    kind: 'io',
    status: 502,
  })
  expect(pulled).toBeLessThan(40)
})

it('a webhook that is paused gets nothing, nor later what it missed; it says what became of the last delivery', async () => {
  const running = await startServer()
  const { url, got } = await receiver()
  const { webhook } = await call(running, 'POST', '/v1/webhooks', { url, events: ['token.create'] })
  const types = () => got.map(({ body }) => (JSON.parse(body) as { type: string }).type)
  const list = async () =>
    ((await call(running, 'GET', '/v1/webhooks')) as unknown as { items: { paused: boolean; last: object | null }[] })
      .items[0]
  expect(await list()).toMatchObject({ paused: false, last: null })
  await call(running, 'POST', `/v1/webhooks/${webhook.id}/test`)
  await expect.poll(types, { timeout: 10_000 }).toContain('webhook.test')
  await expect.poll(async () => (await list())?.last, { timeout: 10_000 }).toMatchObject({ ok: true, status: 204 })
  expect(await call(running, 'PATCH', `/v1/webhooks/${webhook.id}`, { paused: true })).toMatchObject({ paused: true })
  got.length = 0
  expect(await call(running, 'POST', `/v1/webhooks/${webhook.id}/test`)).toMatchObject({ code: 'SRV_CONFLICT' })
  await call(running, 'PATCH', `/v1/webhooks/${webhook.id}`, { paused: false })
  got.length = 0
  await call(running, 'POST', `/v1/webhooks/${webhook.id}/test`)
  await expect.poll(types, { timeout: 10_000 }).toContain('webhook.test')
  // Events that a token was made while it was paused are not among them.
  await running.token(['admin'])
  await expect.poll(types, { timeout: 10_000 }).toContain('token.create')
  const actions = (await (await running.client(['admin'])).audit()).map(({ action }) => action)
  expect(actions).toEqual(expect.arrayContaining(['webhook.pause', 'webhook.resume']))
})

it('a webhook whose receiver says no, or is away, shows it; nobody tests or pauses what is not there', async () => {
  const running = await startServer()
  const refusing = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(500).end())
  })
  await new Promise<void>((resolve) => {
    refusing.listen(0, '127.0.0.1', resolve)
  })
  atEnd(async () => {
    refusing.close()
  })
  const { port } = refusing.address() as { port: number }
  const made = await call(running, 'POST', '/v1/webhooks', { url: `http://127.0.0.1:${port}/`, events: ['gc.run'] })
  const away = await call(running, 'POST', '/v1/webhooks', { url: 'http://127.0.0.1:1/', events: ['gc.run'] })
  for (const { webhook } of [made, away]) await call(running, 'POST', `/v1/webhooks/${webhook.id}/test`)
  const last = async () => {
    const { items } = (await call(running, 'GET', '/v1/webhooks')) as unknown as {
      items: { id: string; last: object | null }[]
    }
    return [made, away].map(({ webhook }) => items.find(({ id }) => id === webhook.id)?.last)
  }
  await expect.poll(last, { timeout: 10_000 }).toMatchObject([
    { ok: false, status: 500, type: 'webhook.test' },
    { ok: false, status: null },
  ])
  const none = 'A'.repeat(16)
  expect(await call(running, 'POST', `/v1/webhooks/${none}/test`)).toMatchObject({ code: 'SRV_NOT_FOUND' })
  expect(await call(running, 'PATCH', `/v1/webhooks/${none}`, { paused: true })).toMatchObject({
    code: 'SRV_NOT_FOUND',
  })
})
