import { join } from 'node:path'
import { parseHead, parseHeadEnvelope } from '@keyturn/manifest'
import { writeHead } from '@keyturn/manifest/publish'
import type { Head } from '@keyturn/manifest'
import { utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { ServerError } from '../src/errors.ts'
import { unixHeadSigner } from '../src/head-signer/client.ts'
import { localHeadSigner } from '../src/head-signer/local.ts'
import { startHeadSigner } from '../src/head-signer/server.ts'
import { loadSignerState } from '../src/head-signer/state.ts'
import { signWantedHead, watchChannel } from '../src/head-signer/sign-wanted-head.ts'
import type { SigningOptions } from '../src/head-signer/sign-wanted-head.ts'
import { HeadRenewal } from '../src/ops/head-renewal.ts'
import { readPublic } from '../src/public/read-public.ts'
import type { HeadSigner } from '../src/releases/rollout.ts'
import type { ReleaseServer } from '../src/server.ts'
import { day, signerOf, TestPublisher } from './publisher.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'

/** A server with a head signer of its own, a clock that tests move, and two releases, each offered to everybody. */
async function scene(signerOfScene: (signing: SigningOptions) => HeadSigner = localHeadSigner) {
  let now = Math.floor(Date.now() / 1000) * 1000
  const state = await temporaryFolder()
  const publisher = await TestPublisher.create({ now })
  const holder: { server?: ReleaseServer } = {}
  const signing = {
    pin: publisher.pin,
    signer: signerOf('head 1'),
    mode: 'auto' as const,
    state,
    clock: () => now,
    fetchPublic: async (path: string) =>
      holder.server === undefined ? undefined : readPublic(holder.server.context, path),
  }
  const headSigner = signerOfScene(signing)
  const running = await startServer({ clock: () => now, headSigner })
  holder.server = running.server
  const client = await running.client(['admin'])
  await publisher.introduce(client)
  const good = await publisher.release({ 'a.txt': utf8Encode('good') })
  await publisher.publish(client, good)
  const place = { folder: state, product: 'metin2', channel: 'stable', pin: publisher.pin }
  // It looks after the server has answered; a release that was replaced within that moment it never saw.
  await expect
    .poll(async () => (await loadSignerState(place)).offered?.map(({ version }) => version), { timeout: 30_000 })
    .toEqual([good.model.version])
  const bad = await publisher.release({ 'a.txt': utf8Encode('bad') })
  const head = async (): Promise<Head> => {
    const bytes = await client.fetchPublic('/p/metin2/channels/stable/head.json')
    if (bytes === undefined) throw new Error('no head')
    return parseHead(parseHeadEnvelope(bytes).payload)
  }
  return {
    running,
    client,
    publisher,
    signing,
    headSigner,
    good,
    bad,
    head,
    later: (ms: number) => {
      now += ms
      publisher.now = now
    },
  }
}

/** A scene whose signer can go away, or die with a signature that nobody gets; it looks when a test says so. */
async function absence({ mode = 'auto' }: { mode?: 'auto' | 'confirm' } = {}) {
  let isAway = false
  let isDying = false
  const asked: string[] = []
  const world = await scene((signing) => {
    const signer = localHeadSigner({
      ...signing,
      mode,
      confirm: (summary) => Promise.resolve(asked.push(summary) < 0),
    })
    return {
      ...signer,
      sign: async (payload, reason) => {
        const signed = await signer.sign(payload, reason)
        if (isDying) throw new ServerError('SRV_HEAD_NEEDED', 'The connection broke')
        return signed
      },
      connected: () => Promise.resolve(!isAway),
    }
  })
  const { context } = world.running.server
  return {
    ...world,
    server: world.running,
    asked,
    renewal: new HeadRenewal(context, world.headSigner),
    away: (yes: boolean) => {
      isAway = yes
    },
    dies: (yes: boolean) => {
      isDying = yes
    },
  }
}

interface Health {
  readonly status: string
  readonly checks: readonly { readonly name: string; readonly status: string; readonly detail?: string }[]
}

async function signerHealth(url: string): Promise<Health['checks'][number] | undefined> {
  const report = (await (await fetch(`${url}/readyz`)).json()) as Health
  return report.checks.find(({ name }) => name === 'head-signer')
}

describe('heads without a person', () => {
  it('renews a head once half of its life is over, and repeats exactly what it offered', async () => {
    const { client, publisher, good, bad, head, later } = await scene()
    await publisher.publish(
      client,
      bad,
      await publisher.head(bad, {
        edit: (model) => ({
          ...model,
          fallback: good.pin,
          rollout: { percent: 20, salt: 'ab'.repeat(16), paused: false },
        }),
      }),
    )
    await client.halt('metin2', 'stable', 'it crashes')
    const { sequence, issuedAt, expiresAt, ...offer } = await head()
    later(4 * day)
    // Anything that is published makes the server look; so does a timer.
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('other') }, { channel: 'beta' }))
    await expect.poll(async () => (await head()).sequence, { timeout: 30_000 }).toBe(sequence + 1)
    const renewed = await head()
    expect(renewed).toMatchObject(offer)
    expect(Date.parse(renewed.issuedAt)).toBe(Date.parse(issuedAt) + 4 * day)
    expect(Date.parse(renewed.expiresAt)).toBe(Date.parse(expiresAt) + 4 * day)
  })

  it('repeats a head that has expired if it knew it, with the offer as it was and nothing else (row 382)', async () => {
    const { publisher, client, head, later, signing, good } = await scene()
    const { sequence, issuedAt: _issued, expiresAt: _expires, ...offer } = await head()
    const wanted = (now: number, edit: Partial<Head> = {}): Uint8Array => {
      const issuedAt = `${new Date(now).toISOString().slice(0, 19)}Z`
      const expiresAt = `${new Date(now + 7 * day).toISOString().slice(0, 19)}Z`
      return writeHead({ ...offer, sequence: sequence + 1, issuedAt, expiresAt, ...edit })
    }
    later(9 * day)
    const halted = { fallback: good.pin, rollout: { percent: 100, salt: 'ab'.repeat(16), paused: true } }
    // A signer that lost its memory cannot know whether a newer head is hidden from it.
    const forgetful = { ...signing, state: await temporaryFolder() }
    await expect(signWantedHead(forgetful, wanted(publisher.now), 'renewal')).rejects.toMatchObject({
      code: 'MAN_EXPIRED',
    })
    await expect(signWantedHead(signing, wanted(publisher.now, halted), 'halt')).rejects.toMatchObject({
      code: 'SRV_HEAD_NEEDED',
    })
    // Anything that is published makes the server look.
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('other') }, { channel: 'beta' }))
    await expect.poll(async () => (await head()).sequence, { timeout: 30_000 }).toBe(sequence + 1)
    expect(await head()).toMatchObject(offer)
  })

  it('halts a release that names no fallback: others get what everybody had before', async () => {
    const { client, publisher, good, bad, head } = await scene()
    await expect(client.halt('metin2', 'stable', 'too early')).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
    await publisher.publish(client, bad)
    expect((await head()).fallback).toBeUndefined()
    expect(await client.halt('metin2', 'stable', 'it crashes')).toMatchObject({
      wanted: null,
      rollout: { paused: true },
    })
    expect(await head()).toMatchObject({ fallback: good.pin, manifest: bad.pin })
  })

  it('halts a step back: others get what was brought back, not what was stepped over', async () => {
    const { client, publisher, good, bad, head } = await scene()
    await publisher.publish(client, bad)
    const back = await publisher.release({ 'a.txt': utf8Encode('good') }, { rollbackOf: good.model.version })
    await publisher.publish(client, back)
    expect(await client.getChannel('metin2', 'stable')).toMatchObject({ before: { sha256: good.pin.sha256 } })
    await client.halt('metin2', 'stable', 'in a hurry')
    expect(await head()).toMatchObject({ fallback: good.pin, manifest: back.pin })
  })

  it('takes no fallback that it never saw offered, whatever the server says', async () => {
    const { client, publisher, signing, good, bad, head } = await scene()
    await publisher.publish(client, bad)
    const current = await head()
    const wanted = (fallback: Head['fallback']): Uint8Array =>
      writeHead({
        ...current,
        sequence: current.sequence + 1,
        ...(fallback === undefined ? {} : { fallback }),
        rollout: { percent: 100, salt: 'cd'.repeat(16), paused: true },
      })
    const stranger = { ...signing, state: await temporaryFolder() }
    await watchChannel(stranger, 'metin2', 'stable')
    await expect(signWantedHead(stranger, wanted(good.pin), 'x')).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
    const other = { ...good.pin, sha256: '00'.repeat(32) }
    await expect(signWantedHead(signing, wanted(other), 'x')).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
    expect(await signWantedHead(signing, wanted(good.pin), 'x')).toBeDefined()
  })

  it('signs a head with a release that was not offered yet only after a person confirmed it', async () => {
    const { signing, bad, head } = await scene()
    const current = await head()
    const wanted = writeHead({ ...current, sequence: current.sequence + 1, manifest: bad.pin })
    const stored = new Map<string, Uint8Array>([
      [`/p/metin2/channels/stable/manifests/${bad.pin.version}.json`, bad.manifest],
      [`/p/metin2/channels/stable/manifests/${bad.pin.version}.sigs.json`, bad.signatures],
    ])
    const options = {
      ...signing,
      fetchPublic: async (path: string) => stored.get(path) ?? signing.fetchPublic(path),
    }
    await expect(signWantedHead(options, wanted, 'x')).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
    const asked: string[] = []
    const answer = (yes: boolean) => ({
      ...options,
      confirm: async (summary: string) => {
        asked.push(summary)
        return yes
      },
    })
    expect(await signWantedHead(answer(false), wanted, 'x')).toBeUndefined()
    expect(await signWantedHead(answer(true), wanted, 'x')).toBeDefined()
    expect(asked).toHaveLength(2)
    expect(asked[0]).toContain(`release ${bad.pin.version}`)
  })

  it('makes no head that lasts longer than the one of the publisher, or a week', async () => {
    const { signing, head } = await scene()
    const current = await head()
    const expiresAt = new Date(Date.parse(current.issuedAt) + 8 * day).toISOString().replace('.000Z', 'Z')
    const wanted = writeHead({ ...current, sequence: current.sequence + 1, expiresAt })
    await expect(signWantedHead(signing, wanted, 'x')).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
  })

  it('signs a halt that was asked for while it was away, and nothing that gives players more', async () => {
    const { server, publisher, client, good, bad, head, later, renewal, away } = await absence()
    const rollout = { percent: 20, salt: 'ab'.repeat(16), paused: false }
    const rolled = () => publisher.head(bad, { edit: (model: Head) => ({ ...model, fallback: good.pin, rollout }) })
    await publisher.publish(client, bad, await rolled())
    away(true)
    await client.setRollout('metin2', 'stable', { percent: 100 })
    later(60_000)
    away(false)
    await renewal.look()
    expect((await head()).rollout).toEqual(rollout)
    away(true)
    expect((await client.halt('metin2', 'stable', 'it crashes')).wanted).toMatchObject({ action: 'halt' })
    expect(await signerHealth(server.url)).toMatchObject({ status: 'warn', detail: '1 halt waits for a head signer' })
    // A timer with "keyturn release renew" repeats the offer, and decides nothing about the halt.
    later(1000)
    await publisher.publish(client, bad, await rolled())
    expect((await client.getChannel('metin2', 'stable'))?.wanted).toMatchObject({ action: 'halt' })
    later(60_000)
    away(false)
    await renewal.look()
    expect((await head()).rollout).toEqual({ ...rollout, paused: true })
    expect(await client.getChannel('metin2', 'stable')).toMatchObject({ wanted: null })
  })

  it('renews a head that expired while it was away, and then makes the halt that waits', async () => {
    const { publisher, client, bad, head, later, renewal, away } = await absence()
    await publisher.publish(client, bad)
    await renewal.look()
    away(true)
    await client.halt('metin2', 'stable', 'it crashes')
    const { sequence } = await head()
    later(9 * day)
    away(false)
    await renewal.look()
    await renewal.look()
    expect(await head()).toMatchObject({ sequence: sequence + 2, rollout: { paused: true } })
  })

  it('a halt that waits ends with a resume, or with whatever else the publisher offers', async () => {
    const { publisher, client, bad, head, later, renewal, away } = await absence()
    await publisher.publish(client, bad)
    away(true)
    await client.halt('metin2', 'stable', 'it crashes')
    expect((await client.setRollout('metin2', 'stable', { paused: false })).wanted).toBeNull()
    await client.halt('metin2', 'stable', 'it crashes')
    later(1000)
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('fixed') }))
    expect((await client.getChannel('metin2', 'stable'))?.wanted).toBeNull()
    later(60_000)
    away(false)
    await renewal.look()
    expect((await head()).rollout).toBeUndefined()
  })

  it('a halt that was signed and not published before the server died is published by the next look', async () => {
    const { publisher, client, bad, head, later, renewal, away, dies } = await absence()
    await publisher.publish(client, bad)
    dies(true)
    await expect(client.halt('metin2', 'stable', 'it crashes')).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
    expect((await head()).rollout).toBeUndefined()
    dies(false)
    away(false)
    later(60_000)
    await renewal.look()
    expect((await head()).rollout).toMatchObject({ paused: true })
  })

  it('asks a person once about a halt that waits, and again after the signer was away', async () => {
    const { publisher, client, bad, later, renewal, away, asked } = await absence({ mode: 'confirm' })
    await publisher.publish(client, bad)
    away(true)
    await client.halt('metin2', 'stable', 'it crashes')
    later(60_000)
    away(false)
    await renewal.look()
    await renewal.look()
    expect(asked).toHaveLength(1)
    away(true)
    await renewal.look()
    away(false)
    await renewal.look()
    expect(asked).toHaveLength(2)
  })

  it('/readyz warns when heads end within 3 days and no head signer is connected', async () => {
    let now = Math.floor(Date.now() / 1000) * 1000
    const socket = join(await temporaryFolder(), 'signer.sock')
    const running = await startServer({ clock: () => now, headSigner: unixHeadSigner(socket) })
    const publisher = await TestPublisher.create({ now })
    const client = await running.client(['admin'])
    await publisher.introduce(client)
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('a') }))
    expect(await signerHealth(running.url)).toMatchObject({ status: 'pass' })
    now += 5 * day
    expect(await signerHealth(running.url)).toMatchObject({
      status: 'warn',
      detail: expect.stringMatching(/no head signer/),
    })
    const signer = await startHeadSigner({
      socket,
      mode: 'auto',
      pin: publisher.pin,
      signer: signerOf('head 1'),
      clock: () => now,
      fetchPublic: (path) => client.fetchPublic(path),
    })
    atEnd(() => signer.close())
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('b') }, { channel: 'beta' }))
    await expect.poll(async () => (await signerHealth(running.url))?.detail, { timeout: 30_000 }).toBe('connected')
  })
})
