import { utf8Encode } from '@keyturn/primitives'
import { expect, it } from 'vitest'
import { sweepFunnel } from '../src/events/funnel.ts'
import { StartWeights } from '../src/events/start-weights.ts'
import { day, TestPublisher } from './publisher.ts'
import { startServer } from './support.ts'

const hour = day / 24

/** Three releases, the third rolled out to a fifth; the second is the one before it. */
async function rolledOut() {
  let now = Date.parse('2026-11-21T12:00:00Z')
  const running = await startServer({ clock: () => now, rates: { trustProxy: true } })
  const admin = await running.client(['admin'])
  const publisher = await TestPublisher.create({ now })
  await publisher.introduce(admin)
  const old = await publisher.release({ 'a.txt': utf8Encode('0') })
  await publisher.publish(admin, old)
  const first = await publisher.release({ 'a.txt': utf8Encode('1') })
  await publisher.publish(admin, first)
  const second = await publisher.release({ 'a.txt': utf8Encode('2') })
  await publisher.publish(
    admin,
    second,
    await publisher.head(second, {
      edit: (head) => ({
        ...head,
        fallback: first.pin,
        rollout: { percent: 20, salt: 'ab'.repeat(16), paused: false },
      }),
    }),
  )
  const send = async (body: object, from = '203.0.113.1') => {
    const answer = await fetch(`${running.url}/v1/reports`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
      body: JSON.stringify({ product: 'metin2', channel: 'stable', version: second.model.version, ...body }),
    })
    return { status: answer.status, body: (await answer.json()) as { code?: string } }
  }
  const stored = async () => await running.server.context.metadata.list('funnel')
  const pass = (ms: number) => {
    now += ms
  }
  return { ...running, admin, publisher, old, first, second, send, stored, pass }
}

it('steps of a release are counted beside those of the release before it, without addresses or ids', async () => {
  const { admin, first, second, send, stored } = await rolledOut()
  for (const step of ['started', 'downloaded', 'swapped', 'confirmed', 'played']) {
    expect((await send({ step })).status).toBe(202)
    await send({ step, version: first.model.version }, '203.0.113.9')
  }
  await send({ step: 'started' })
  await send({ step: 'failed', code: 'LA_DISK_FULL' }, '203.0.113.2')
  await send({ step: 'start-failed', code: 'LA_RELEASE_FAILED' }, '203.0.113.3')
  const health = await admin.health('metin2', 'stable')
  expect(health).toMatchObject({
    release: {
      version: second.model.version,
      counts: { started: 2, downloaded: 1, swapped: 1, confirmed: 1, played: 1, failed: 1, 'start-failed': 1 },
      codes: { LA_DISK_FULL: 1, LA_RELEASE_FAILED: 1 },
      confirm_rate: 50,
      confirm_sample: 2,
    },
    before: { version: first.model.version, counts: { started: 1, confirmed: 1 }, confirm_rate: 100 },
    auto_halt: null,
  })
  const text = JSON.stringify(await stored())
  expect(text).not.toContain('203.0.113')
  expect((await stored()).map(({ key }) => key)).toEqual([
    `metin2/stable/${first.model.version}/2026-11-21T12`,
    `metin2/stable/${second.model.version}/2026-11-21T12`,
  ])
  const { items } = await admin.stats('metin2')
  expect(items).toEqual([])
})

it.each([
  ['a step that is none', { step: 'won' }],
  ['a step that is a number', { step: 7 }],
  ['a version with a slash', { step: 'started', version: '../x' }],
  ['a code in small letters', { step: 'failed', code: 'oh no' }],
  ['a code that is too long', { step: 'failed', code: 'A'.repeat(65) }],
  ['a channel that is none', { step: 'started', channel: 'Not!' }],
])('a report with %s is refused', async (_name, body) => {
  const { send } = await rolledOut()
  expect(await send(body)).toMatchObject({ status: 400, body: { code: 'SRV_REQUEST' } })
})

it('anonymous callers fill nothing: only releases on offer have lines, and a line has few codes', async () => {
  const { admin, old, send, stored } = await rolledOut()
  await send({ step: 'started', version: old.model.version })
  await send({ step: 'started', version: '9.9.9' })
  await send({ step: 'started', channel: 'none' })
  await send({ step: 'started', product: 'none' })
  await admin.health('metin2', 'stable')
  expect(await stored()).toEqual([])
  for (let at = 0; at < 60; at++) await send({ step: 'failed', code: `MADE_UP_${at}` })
  await send({ step: 'started', code: 'NO_CODE_HERE' })
  const { release } = await admin.health('metin2', 'stable')
  expect(Object.keys(release?.codes ?? {})).toHaveLength(21)
  expect(release?.codes).toMatchObject({ OTHER: 40 })
  for (let at = 0; at < 30; at++) await send({ step: 'failed', code: `MORE_${at}` })
  await admin.health('metin2', 'stable')
  expect(await stored()).toHaveLength(1)
  expect(Object.keys((await admin.health('metin2', 'stable')).release?.codes ?? {})).toHaveLength(21)
})

it('an address weighs once a day for each outcome', async () => {
  const { admin, send, pass } = await rolledOut()
  for (let at = 0; at < 20; at++) await send({ step: 'start-failed' }, '203.0.113.5')
  await send({ step: 'confirmed' }, '203.0.113.5')
  for (const place of ['2001:db8::1', '2001:db8::2']) await send({ step: 'confirmed' }, place)
  const { release } = await admin.health('metin2', 'stable')
  expect(release).toMatchObject({ counts: { 'start-failed': 20, confirmed: 3 }, confirm_sample: 3 })
  pass(day)
  await send({ step: 'confirmed' }, '203.0.113.5')
  expect((await admin.health('metin2', 'stable')).release?.confirm_sample).toBe(4)
  // What is remembered is bounded; who comes later weighs nothing until the day is over.
  let clock = 0
  const weights = new StartWeights(() => clock)
  for (let at = 0; at < 100_000; at++) expect(weights.take(`a${at}`, 'r', 'lived')).toBe(true)
  expect(weights.take('late', 'r', 'lived')).toBe(false)
  clock += day
  expect(weights.take('late', 'r', 'lived')).toBe(true)
})

it('hours become days after two weeks and are forgotten after 400 days; counts survive a restart', async () => {
  const { server, admin, send, stored, pass, dataDir, second } = await rolledOut()
  await send({ step: 'started' })
  await send({ step: 'failed', code: 'LA_HASH' })
  await admin.health('metin2', 'stable')
  pass(hour)
  await send({ step: 'started' })
  await admin.health('metin2', 'stable')
  expect(await stored()).toHaveLength(2)
  pass(15 * day)
  await sweepFunnel(server.context)
  expect((await stored()).map(({ key }) => key)).toEqual([`metin2/stable/${second.model.version}/2026-11-21`])
  expect((await stored())[0]?.value).toMatchObject({ steps: { started: 2, failed: 1 }, codes: { LA_HASH: 1 } })
  await sweepFunnel(server.context)
  await send({ step: 'started' })
  await server.close()
  const again = await startServer({ dataDir })
  const health = await (await again.client(['stats:read'])).health('metin2', 'stable')
  expect(health.release?.counts).toMatchObject({ started: 3 })
  await again.server.close()
  const late = await startServer({ dataDir, clock: () => Date.parse('2028-06-01T00:00:00Z') })
  await sweepFunnel(late.server.context)
  expect(await late.server.context.metadata.list('funnel')).toEqual([])
  await late.server.close()
})

it('what cannot be stored now is counted on', async () => {
  const { server, admin, send } = await rolledOut()
  const { metadata } = server.context
  const transaction = metadata.transaction.bind(metadata)
  await send({ step: 'started' })
  let broken = true
  metadata.transaction = async (locks, work) => {
    if (broken && locks.includes('funnel')) throw new Error('no room')
    return await transaction(locks, work)
  }
  await expect(admin.health('metin2', 'stable')).rejects.toMatchObject({ code: 'SRV_INTERNAL' })
  broken = false
  await send({ step: 'started' })
  expect((await admin.health('metin2', 'stable')).release?.counts.started).toBe(2)
})
