import { join } from 'node:path'
import { signHead } from '@keyturn/manifest/publish'
import { utf8Encode } from '@keyturn/primitives'
import { expect, it } from 'vitest'
import { Funnel } from '../src/events/funnel.ts'
import { unixHeadSigner } from '../src/head-signer/client.ts'
import { startHeadSigner } from '../src/head-signer/server.ts'
import { AutoHalt } from '../src/ops/auto-halt.ts'
import { HeadRenewal } from '../src/ops/head-renewal.ts'
import type { HeadSigner } from '../src/releases/rollout.ts'
import { signerOf, TestPublisher } from './publisher.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'

/** A release that a fifth gets, with a head signer unless there is to be none. */
async function rolledOut(options: { signer?: boolean } = {}) {
  const socket = join(await temporaryFolder(), 'signer.sock')
  const headSigner: HeadSigner | undefined = options.signer === false ? undefined : unixHeadSigner(socket)
  const running = await startServer({ headSigner, rates: { trustProxy: true } })
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const first = await publisher.release({ 'a.txt': utf8Encode('1') })
  await publisher.publish(client, first)
  const second = await publisher.release({ 'a.txt': utf8Encode('2') })
  const rollout = { percent: 20, salt: 'ab'.repeat(16), paused: false }
  await publisher.publish(
    client,
    second,
    await publisher.head(second, { edit: (head) => ({ ...head, fallback: first.pin, rollout }) }),
  )
  if (headSigner !== undefined) {
    const signing = await startHeadSigner({
      socket,
      mode: 'auto',
      pin: publisher.pin,
      signer: signerOf('head 1'),
      fetchPublic: (path) => client.fetchPublic(path),
    })
    atEnd(() => signing.close())
  }
  let address = 0
  const starts = async (lived: number, died: number) => {
    for (let at = 0; at < lived + died; at++) {
      address += 1
      await fetch(`${running.url}/v1/reports`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': `10.0.${address >> 8}.${address & 255}` },
        body: JSON.stringify({
          product: 'metin2',
          channel: 'stable',
          version: second.model.version,
          step: at < lived ? 'confirmed' : 'start-failed',
        }),
      })
    }
  }
  const { context } = running.server
  const watcher = new AutoHalt(context, new Funnel(context), headSigner)
  const look = async () => {
    await client.health('metin2', 'stable') // stores what was counted
    await watcher.look()
  }
  const channel = async () => await client.getChannel('metin2', 'stable')
  const actions = async () =>
    (await client.audit({ limit: 1000 })).filter(({ actor }) => actor === 'auto-halt').map(({ action }) => action)
  return { ...running, client, publisher, first, second, starts, look, channel, actions, headSigner }
}

it('a rollout halts itself below the rate, not before the sample, and a resume counts from zero', async () => {
  const { client, starts, look, channel, actions } = await rolledOut()
  expect(await client.setAutoHalt('metin2', 'stable', { percent: 90, sample: 20 })).toMatchObject({ percent: 90 })
  await starts(10, 9)
  await look()
  expect((await channel())?.rollout?.paused).toBe(false)
  await starts(1, 0)
  await look()
  expect((await channel())?.rollout).toMatchObject({ paused: true, percent: 20 })
  expect(await client.health('metin2', 'stable')).toMatchObject({
    auto_halt: { percent: 90, sample: 20, halted: { confirm_rate: 55, confirm_sample: 20 } },
  })
  const halt = (await client.audit({ action: 'channel.halt' })).at(-1)
  expect(halt).toMatchObject({ actor: 'auto-halt', facts: { reason: expect.stringContaining('55 % of 20') } })
  await look()
  expect(await actions()).toEqual(['channel.halt', 'channel.publish'])
  await client.setRollout('metin2', 'stable', { paused: false })
  await look()
  await look()
  // What was known when it was resumed does not halt it again; what comes after does.
  expect((await channel())?.rollout?.paused).toBe(false)
  await starts(10, 9)
  await look()
  expect((await channel())?.rollout?.paused).toBe(false)
  await starts(0, 1)
  await look()
  expect((await channel())?.rollout?.paused).toBe(true)
})

it('a rollout at or above the rate goes on; the rule ends with the next release, or when it is removed', async () => {
  const { client, publisher, starts, look, channel } = await rolledOut()
  await client.setAutoHalt('metin2', 'stable', { percent: 90, sample: 10 })
  await starts(18, 2)
  await look()
  expect((await channel())?.rollout?.paused).toBe(false)
  await client.removeAutoHalt('metin2', 'stable')
  await client.removeAutoHalt('metin2', 'stable')
  await starts(0, 9)
  await look()
  expect((await channel())?.rollout?.paused).toBe(false)
  expect((await client.health('metin2', 'stable')).auto_halt).toBeNull()
  // What was reported before the rule does not count.
  await client.setAutoHalt('metin2', 'stable', { percent: 90, sample: 10 })
  await starts(10, 0)
  await look()
  expect((await channel())?.rollout?.paused).toBe(false)
  const third = await publisher.release({ 'a.txt': utf8Encode('3') })
  await publisher.publish(client, third)
  await starts(0, 50)
  await look()
  expect((await client.health('metin2', 'stable')).auto_halt).toBeNull()
  expect((await channel())?.rollout).toBeNull()
})

it('one address cannot halt a rollout, however much it reports', async () => {
  const { url, client, second, look, channel } = await rolledOut()
  await client.setAutoHalt('metin2', 'stable', { percent: 97, sample: 10 })
  for (let at = 0; at < 200; at++)
    await fetch(`${url}/v1/reports`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': `192.0.2.1` },
      body: JSON.stringify({ product: 'metin2', version: second.model.version, step: 'start-failed' }),
    })
  await look()
  expect((await channel())?.rollout?.paused).toBe(false)
})

it('without a head signer the halt waits for the publisher, once', async () => {
  const { client, starts, look, channel, actions } = await rolledOut({ signer: false })
  await client.setAutoHalt('metin2', 'stable', { percent: 97, sample: 10 })
  await starts(0, 10)
  await look()
  await look()
  expect((await channel())?.wanted).toMatchObject({ action: 'halt', asked_by: 'auto-halt' })
  expect(await actions()).toEqual(['channel.halt'])
})

it('a halt that waits is made as soon as a head signer is connected', async () => {
  let now = Date.now()
  const { server, client, publisher, starts, channel } = await rolledOut({ signer: false })
  const context = { ...server.context, clock: () => now }
  await client.setAutoHalt('metin2', 'stable', { percent: 97, sample: 10 })
  await starts(0, 10)
  await client.health('metin2', 'stable')
  let isConnected = false
  const signing: HeadSigner = {
    connected: () => Promise.resolve(isConnected),
    sign: async (payload) => await signHead(payload, [signerOf('head 1')]),
  }
  const watcher = new AutoHalt(context, new Funnel(context), signing)
  await watcher.look()
  await watcher.look()
  expect((await channel())?.wanted).toMatchObject({ action: 'halt' })
  isConnected = true
  now += 30_000
  publisher.now = now
  await new HeadRenewal(context, signing).look()
  expect(await channel()).toMatchObject({ wanted: null, rollout: { paused: true } })
})

it('the rule survives a restart, and several replicas halt once', async () => {
  const { server, client, dataDir, starts, actions, channel, headSigner } = await rolledOut()
  await client.setAutoHalt('metin2', 'stable', { percent: 97, sample: 10 })
  await starts(5, 5)
  await client.health('metin2', 'stable')
  const other = await startServer({ dataDir, headSigner })
  const replicas = [server, other.server].map(({ context }) => new AutoHalt(context, new Funnel(context), headSigner))
  await Promise.all(replicas.map((replica) => replica.look()))
  expect(await actions()).toEqual(['channel.halt', 'channel.publish'])
  expect((await channel())?.rollout?.paused).toBe(true)
  await other.server.close()
})

it('a halt that a replica began and did not finish is finished by another one, a minute later', async () => {
  let now = Date.now()
  const { server, client, starts, channel, headSigner } = await rolledOut()
  const context = { ...server.context, clock: () => now }
  await client.setAutoHalt('metin2', 'stable', { percent: 97, sample: 10 })
  await starts(5, 5)
  await client.health('metin2', 'stable')
  const away: HeadSigner = {
    sign: () => Promise.reject(new Error('died')),
  }
  await new AutoHalt(context, new Funnel(context), away).look()
  const next = new AutoHalt(context, new Funnel(context), headSigner)
  await next.look()
  expect((await channel())?.rollout?.paused).toBe(false)
  now += 61_000
  await next.look()
  expect((await channel())?.rollout?.paused).toBe(true)
  expect((await client.health('metin2', 'stable')).auto_halt?.halted).not.toBeNull()
})

it('nobody sets a rule on nothing, on a first release, out of bounds, or without the scope', async () => {
  const running = await startServer()
  const admin = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(admin)
  const rule = { percent: 97 }
  await expect(admin.setAutoHalt('metin2', 'stable', rule)).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
  await expect(admin.health('metin2', 'none')).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
  await publisher.publish(admin, await publisher.release({ 'a.txt': utf8Encode('1') }))
  await expect(admin.setAutoHalt('metin2', 'stable', rule)).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
  for (const bad of [{ percent: 0 }, { percent: 100 }, { percent: 97.5 }, { percent: 97, sample: 9 }])
    await expect(admin.setAutoHalt('metin2', 'stable', bad)).rejects.toMatchObject({ code: 'SRV_REQUEST' })
  const reader = await running.client(['stats:read', 'releases:read'])
  await expect(reader.setAutoHalt('metin2', 'stable', rule)).rejects.toMatchObject({ code: 'SRV_SCOPE' })
  const beta = await running.client(['rollout:write'], { channels: ['beta'] })
  await expect(beta.setAutoHalt('metin2', 'stable', rule)).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
})
