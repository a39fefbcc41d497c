// What people do with a release day by day: notes, a search in the audit log, a new date.
import { join } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import type { AuditEntry } from '@keyturn/release-client'
import { expect, it } from 'vitest'
import { appendAudit, AUDIT_LOCK } from '../src/audit/audit.ts'
import { unixHeadSigner } from '../src/head-signer/client.ts'
import { startHeadSigner } from '../src/head-signer/server.ts'
import { day, signerOf, TestPublisher } from './publisher.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'
import type { RunningServer } from './support.ts'

interface Answer {
  readonly status: number
  readonly body: {
    readonly code?: string
    readonly items: readonly Record<string, unknown>[]
    readonly names: Readonly<Record<string, string>>
    readonly cursor: string | null
  }
}

async function call(running: RunningServer, token: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(running.url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as Answer['body'] }
}

async function published(running: RunningServer) {
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const release = await publisher.release({ 'a.txt': utf8Encode('1') })
  await publisher.publish(client, release)
  return {
    client,
    publisher,
    release,
    notes: `/v1/products/metin2/channels/stable/releases/${release.model.version}/notes`,
  }
}

it('notes on a release say who wrote them, are bounded, and stay', async () => {
  const running = await startServer()
  const { notes, client } = await published(running)
  const { secret, token } = await running.server.createToken({
    name: 'Ann',
    scopes: ['rollout:write', 'releases:read'],
  })
  const text = 'Crashes on <script>alert(1)</script>\nold cards'
  expect(await call(running, secret, notes, { text })).toMatchObject({ status: 201, body: { by: `token:${token.id}` } })
  expect(await call(running, secret, notes)).toMatchObject({
    body: { items: [{ text, by: `token:${token.id}` }], names: { [`token:${token.id}`]: 'Ann' } },
  })
  for (const bad of ['', '  \n ', 'a\u0000b', 'a\u001b[31m', 'x'.repeat(1001)])
    expect(await call(running, secret, notes, { text: bad })).toMatchObject({ body: { code: 'SRV_REQUEST' } })
  const missing = notes.replace(/releases\/[^/]+/, 'releases/9.9')
  expect(await call(running, secret, missing, { text: 'x' })).toMatchObject({ body: { code: 'SRV_NOT_FOUND' } })
  expect(await call(running, secret, missing)).toMatchObject({ body: { code: 'SRV_NOT_FOUND' } })
  const reader = await running.token(['releases:read'])
  expect(await call(running, reader, notes, { text: 'x' })).toMatchObject({ body: { code: 'SRV_SCOPE' } })
  for (let at = 1; at < 100; at++) await call(running, secret, notes, { text: `note ${at}` })
  expect(await call(running, secret, notes, { text: 'one more' })).toMatchObject({ body: { code: 'SRV_LIMIT' } })
  const { items } = (await call(running, secret, notes)).body
  expect(items.map((note) => note['text'])).toEqual([text, ...Array.from({ length: 99 }, (_, at) => `note ${at + 1}`)])
  expect((await client.audit({ action: 'release.note', limit: 1000 })).length).toBe(100)
})

it('the audit log is searched by text, person, action and day, backward and page by page', async () => {
  let now = Date.parse('2026-11-21T12:00:00Z')
  const running = await startServer({ clock: () => now })
  const { metadata } = running.server.context
  const ann = await running.server.createToken({ name: 'Ann Lee', scopes: ['releases:read'] })
  const add = (actor: string, action: string, target: string, reason: string) =>
    metadata.transaction([AUDIT_LOCK], (records) =>
      appendAudit(records, now, { actor, action, target, requestId: 'r', facts: { reason } }),
    )
  await add(`token:${ann.token.id}`, 'channel.halt', 'game/stable', 'It CRASHES')
  now += day
  for (let at = 0; at < 30; at++) await add('oidc:ci', 'channel.publish', 'game/beta', `build ${at}`)
  now += 2 * day
  await add('oidc:ci', 'channel.halt', 'game/beta', 'broken')
  const token = await running.token(['audit:read'])
  const search = async (query: string) => (await call(running, token, `/v1/audit?newest=true&${query}`)).body
  const reasons = (found: Answer['body']) =>
    (found.items as unknown as AuditEntry[]).map(({ facts }) => facts['reason'])
  expect(reasons(await search('text=crashes'))).toEqual(['It CRASHES'])
  expect(await search('actor=ann%20l&action=channel.')).toMatchObject({
    items: [{ action: 'channel.halt' }],
    names: { [`token:${ann.token.id}`]: 'Ann Lee' },
    cursor: null,
  })
  expect(reasons(await search('text=ANN%20LEE&action=channel.'))).toEqual(['It CRASHES'])
  expect(reasons(await search('action=channel.halt'))).toEqual(['broken', 'It CRASHES'])
  expect((await search('day=2026-11-22')).items).toHaveLength(30)
  expect((await search('day=2026-11-23')).items).toEqual([])
  expect((await search('day=2020-01-01')).items).toEqual([])
  expect((await search('day=2030-01-01')).items).toEqual([])
  const first = await search('action=channel.publish&limit=12')
  expect(reasons(first)).toEqual(Array.from({ length: 12 }, (_, at) => `build ${29 - at}`))
  const second = await search(`action=channel.publish&limit=12&before=${first.cursor}`)
  expect(reasons(second)[0]).toBe('build 17')
  for (const bad of ['day=yesterday', `text=${'x'.repeat(101)}`, 'before=-1'])
    expect((await call(running, token, `/v1/audit?newest=true&${bad}`)).body.code).toBe('SRV_REQUEST')
})

it('one search reads a bounded part of a long log and says where to go on', async () => {
  const running = await startServer()
  const { metadata } = running.server.context
  await running.server.createToken({ name: 'needle', scopes: ['releases:read'] })
  for (let part = 0; part < 12; part++)
    await metadata.transaction([AUDIT_LOCK], async (records) => {
      for (let at = 0; at < 1000; at++)
        await appendAudit(records, Date.now(), { actor: 'local', action: 'gc.run', target: 'x', requestId: 'r' })
    })
  const token = await running.token(['audit:read'])
  const begin = performance.now()
  const first = (await call(running, token, '/v1/audit?newest=true&text=needle')).body
  expect(first.items).toEqual([])
  expect(Number(first.cursor)).toBeGreaterThan(1)
  const second = (await call(running, token, `/v1/audit?newest=true&text=needle&before=${first.cursor}`)).body
  expect(second).toMatchObject({ items: [{ action: 'token.create' }], cursor: null })
  expect(performance.now() - begin).toBeLessThan(20_000)
}, 120_000)

it('a head is renewed from the dashboard where a head signer is connected, and refused where none is', async () => {
  const without = await startServer()
  await published(without)
  const renew = '/v1/products/metin2/channels/stable:renew'
  const refusal = await call(without, await without.token(['rollout:write']), renew, {})
  expect(refusal).toMatchObject({ status: 409, body: { code: 'SRV_HEAD_NEEDED' } })
  expect(JSON.stringify(refusal.body)).toContain('keyturn release renew --channel stable')
  const socket = join(await temporaryFolder(), 'signer.sock')
  const running = await startServer({ headSigner: unixHeadSigner(socket) })
  const { client, publisher } = await published(running)
  const signer = await startHeadSigner({
    socket,
    mode: 'auto',
    pin: publisher.pin,
    signer: signerOf('head 1'),
    fetchPublic: (path) => client.fetchPublic(path),
  })
  atEnd(() => signer.close())
  const before = await client.getChannel('metin2', 'stable')
  expect((await call(running, await running.token(['rollout:write']), renew, {})).status).toBe(200)
  const after = await client.getChannel('metin2', 'stable')
  expect(after?.manifest).toEqual(before?.manifest)
  expect(after?.head?.sequence).toBe((before?.head?.sequence ?? 0) + 1)
})
