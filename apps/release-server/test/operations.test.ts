import { createServer } from 'node:http'
import { join } from 'node:path'
import { stat, writeFile } from 'node:fs/promises'
import { utf8Encode } from '@keyturn/primitives'
import { parseHead, parseHeadEnvelope } from '@keyturn/manifest'
import { writeHead } from '@keyturn/manifest/publish'
import { describe, expect, it } from 'vitest'
import { verifyAuditEntries, verifyStoredAudit } from '../src/audit/audit.ts'
import { checkStores } from '../src/releases/fsck.ts'
import { startHeadSigner } from '../src/head-signer/server.ts'
import { signWantedHead } from '../src/head-signer/sign-wanted-head.ts'
import { unixHeadSigner } from '../src/head-signer/client.ts'
import { migrate } from '../src/storage/migrate.ts'
import { changedHead } from '../src/releases/rollout.ts'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import { webhookHeaders } from '../src/events/webhooks.ts'
import { blobFromBytes } from '@keyturn/release-client'
import { day, signerOf, TestPublisher } from './publisher.ts'
import type { MadeRelease } from './publisher.ts'
import { atEnd, fileUrl, someBytes, startServer, temporaryFolder } from './support.ts'
import type { RunningServer } from './support.ts'
import type { ReleaseServerOptions } from '../src/server.ts'

const salt = 'ab'.repeat(16)

async function published(options: Partial<ReleaseServerOptions> = {}) {
  const running = await startServer(options)
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create({ now: (options.clock ?? Date.now)() })
  await publisher.introduce(client)
  const first = await publisher.release({ 'a.txt': utf8Encode('a'), 'old.txt': utf8Encode('old') })
  await publisher.publish(client, first)
  return { running, client, publisher, first }
}

/** A second release that a quarter of the launchers get. */
async function rollOut(world: Awaited<ReturnType<typeof published>>): Promise<MadeRelease> {
  const { client, publisher, first } = world
  const second = await publisher.release({ 'a.txt': utf8Encode('a'), 'new.txt': utf8Encode('new') })
  await publisher.publish(
    client,
    second,
    await publisher.head(second, {
      edit: (head) => ({ ...head, fallback: first.pin, rollout: { percent: 25, salt, paused: false } }),
    }),
  )
  return second
}

function currentHead(running: RunningServer) {
  return fetch(`${running.url}/head.json`).then(async (answer) =>
    parseHead(parseHeadEnvelope(new Uint8Array(await answer.arrayBuffer())).payload),
  )
}

describe('rollout', () => {
  it('halt and rollout wait for a head from the publisher when no head signer is connected', async () => {
    const world = await published()
    const { client, publisher, running, first } = world
    const second = await rollOut(world)
    const waiting = await client.halt('metin2', 'stable', 'crashes')
    expect(waiting.wanted).toMatchObject({ action: 'halt', reason: 'crashes' })
    expect((await currentHead(running)).rollout).toMatchObject({ paused: false })
    const head = await publisher.head(second, {
      edit: (model) => ({ ...model, fallback: first.pin, rollout: { percent: 25, salt, paused: true } }),
    })
    const done = await client.publish('metin2', 'stable', { version: second.model.version, head })
    expect(done).toMatchObject({ wanted: null, rollout: { paused: true } })
    expect((await client.setRollout('metin2', 'stable', { percent: 50 })).wanted).toMatchObject({
      action: 'rollout',
      percent: 50,
    })
  })

  it('a head signer signs the changed rollout, and nothing else', async () => {
    const socket = join(await temporaryFolder(), 'signer.sock')
    const world = await published({ headSigner: unixHeadSigner(socket) })
    const { client, publisher, running } = world
    const fetchPublic = (path: string) => client.fetchPublic(path)
    const asked: string[] = []
    let yes = false
    const signer = await startHeadSigner({
      socket,
      pin: publisher.pin,
      signer: signerOf('head 1'),
      confirm: async (summary) => {
        asked.push(summary)
        return yes
      },
      fetchPublic,
    })
    atEnd(() => signer.close())
    await rollOut(world)
    expect((await client.setRollout('metin2', 'stable', { percent: 60 })).wanted).toMatchObject({ percent: 60 })
    yes = true
    expect(await client.setRollout('metin2', 'stable', { percent: 60 })).toMatchObject({
      wanted: null,
      rollout: { percent: 60 },
    })
    expect((await currentHead(running)).rollout).toMatchObject({ percent: 60 })
    expect(await client.halt('metin2', 'stable', 'stop')).toMatchObject({ rollout: { paused: true } })
    expect(asked.at(-1)).toMatch(
      /^Reason given: stop\nmetin2\/stable: head 4, release \S+ \(manifest 2\), rollout 60 %, halted$/,
    )
    expect(await client.setRollout('metin2', 'stable', { paused: false })).toMatchObject({
      wanted: null,
      rollout: { paused: false, percent: 60 },
    })
    const head = await currentHead(running)
    const wanted = writeHead({
      ...head,
      sequence: head.sequence + 1,
      mirrors: [{ url: 'https://evil.example/', weight: 1 }],
    })
    await expect(
      signWantedHead(
        { state: `${socket}.state`, pin: publisher.pin, signer: signerOf('head 1'), mode: 'auto', fetchPublic },
        wanted,
        'x',
      ),
    ).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
  })
})

describe('what the head signer remembers', () => {
  async function scene() {
    let now = Math.floor(Date.now() / 1000) * 1000
    const world = await published()
    const socket = join(await temporaryFolder(), 'signer.sock')
    let shown: Uint8Array | undefined
    const options = {
      state: `${socket}.state`,
      pin: world.publisher.pin,
      signer: signerOf('head 1'),
      mode: 'auto' as const,
      clock: () => now,
      fetchPublic: async (path: string) =>
        path.endsWith('/head.json') && shown !== undefined ? shown : world.client.fetchPublic(path),
    }
    const headNow = async () =>
      parseHead(
        parseHeadEnvelope((await options.fetchPublic('/p/metin2/channels/stable/head.json')) as Uint8Array).payload,
      )
    const wanted = async (percent: number) =>
      writeHead(changedHead(await headNow(), { action: 'rollout', percent }, now))
    return {
      world,
      options,
      wanted,
      show: (head: Uint8Array | undefined) => {
        shown = head
      },
      later: (ms: number) => {
        now += ms
      },
    }
  }

  it('survives a restart and signs nothing for an older release that the server went back to', async () => {
    const { world, options, wanted, show } = await scene()
    const old = (await world.client.fetchPublic('/head.json')) as Uint8Array
    const oldWanted = await wanted(50)
    expect(await signWantedHead(options, oldWanted, 'x')).toBeDefined()
    await rollOut(world)
    await signWantedHead(options, await wanted(50), 'x')
    const file = join(options.state, 'metin2', 'stable.json')
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    show(old)
    await expect(signWantedHead({ ...options }, oldWanted, 'x')).rejects.toMatchObject({ code: 'MAN_ROLLBACK' })
    await writeFile(file, 'x')
    show(undefined)
    await expect(signWantedHead(options, await wanted(50), 'x')).rejects.toMatchObject({ code: 'SRV_STORAGE' })
  })

  it('never signs two heads with one sequence, but returns an unpublished one again', async () => {
    const { world, options, wanted, later } = await scene()
    await rollOut(world)
    const first = await signWantedHead(options, await wanted(50), 'x')
    later(1000)
    expect(await signWantedHead(options, await wanted(50), 'x')).toEqual(first)
    await expect(signWantedHead(options, await wanted(60), 'x')).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
  })

  it('renews for at most 90 days after the publisher’s last head', async () => {
    const { world, options, wanted, show, later } = await scene()
    await rollOut(world)
    for (let days = 5; days <= 90; days += 5) {
      later(5 * day - 1000)
      show(await signWantedHead(options, await wanted(days), 'x'))
    }
    later(2 * day)
    const next = await wanted(99)
    await expect(signWantedHead(options, next, 'x')).rejects.toMatchObject({ code: 'SRV_HEAD_NEEDED' })
    expect(await signWantedHead({ ...options, renewalDays: 120 }, next, 'x')).toBeDefined()
  })

  it('signs a head only in the one form that it recognizes', async () => {
    const { world, options, wanted } = await scene()
    await rollOut(world)
    const loose = utf8Encode(` ${Buffer.from(await wanted(50)).toString()}`)
    await expect(signWantedHead(options, loose, 'x')).rejects.toMatchObject({ code: 'SRV_REQUEST' })
  })

  it('shows a person no control characters from the reason', async () => {
    const { world, options, wanted } = await scene()
    await rollOut(world)
    let asked = ''
    await signWantedHead(
      {
        ...options,
        mode: 'confirm',
        confirm: async (summary) => {
          asked = summary
          return false
        },
      },
      await wanted(50),
      '\u001b[2K\nall is well\u202e',
    )
    expect(asked).not.toMatch(/[\u001b\u202e]/)
    expect(asked.split('\n')).toHaveLength(2)
  })
})

describe('garbage collection', () => {
  it('marks, waits, keeps what is wanted again, and deletes only the rest (row 245)', async () => {
    let now = Date.now()
    const world = await published({ clock: () => now, retention: { keepReleases: 1 } })
    const { client, publisher, running, first } = world
    const lonely = blobFromBytes(someBytes(1000))
    const wanted = blobFromBytes(someBytes(1000))
    const askedFor = blobFromBytes(someBytes(1000))
    await client.uploadMissing([lonely, wanted, askedFor])
    expect(await client.missingBlobs([askedFor.sha256])).toEqual([]) // from now on it is nobody's own
    expect(await client.collectGarbage({ dryRun: false })).toMatchObject({ blobs_marked: 0, blobs_deleted: 0 })
    now += 9 * day
    publisher.now = Math.floor(now / 1000) * 1000
    const second = await publisher.release({ 'a.txt': utf8Encode('a2') })
    await publisher.publish(await running.client(['admin']), second)
    const admin = await running.client(['admin'])
    // A client that asks for a blob is about to publish it.
    expect(await admin.missingBlobs([askedFor.sha256])).toEqual([])
    const dry = await admin.collectGarbage()
    expect(dry.deleted).not.toContain(askedFor.sha256)
    expect(dry.deleted).toEqual(expect.arrayContaining([lonely.sha256, wanted.sha256, first.blobs[1]?.sha256]))
    expect(await admin.collectGarbage({ dryRun: false })).toMatchObject({
      blobs_deleted: 0,
      releases_retired: [`stable/${first.model.version}`],
    })
    now += 8 * day
    expect(await (await running.client(['admin'])).missingBlobs([wanted.sha256])).toEqual([])
    const swept = await (await running.client(['admin'])).collectGarbage({ dryRun: false })
    expect(swept.deleted).toContain(lonely.sha256)
    expect(swept.deleted).not.toContain(wanted.sha256)
    expect((await fetch(fileUrl(running.url, lonely.sha256))).status).toBe(404)
    expect((await fetch(fileUrl(running.url, wanted.sha256))).status).toBe(200)
    for (const { sha256 } of second.blobs) expect((await fetch(fileUrl(running.url, sha256))).status).toBe(200)
    expect(await verifyStoredAudit(running.server.context.metadata)).toBeGreaterThan(5)
  })

  it('refuses GC_UNSAFE without releases and with an unreadable manifest, deleting nothing (row 246)', async () => {
    const empty = await startServer()
    await expect((await empty.client(['admin'])).collectGarbage({ dryRun: false })).rejects.toMatchObject({
      code: 'GC_UNSAFE',
      status: 409,
    })
    const { running, client, first } = await published()
    await running.server.context.blobs.delete(first.pin.sha256)
    await expect(client.collectGarbage({ dryRun: false })).rejects.toMatchObject({ code: 'GC_UNSAFE' })
    for (const { sha256 } of first.blobs) expect((await fetch(fileUrl(running.url, sha256))).status).toBe(200)
  })
})

describe('maintaining the stores', () => {
  it('fsck sets damaged blobs aside, forgets lost ones, records unrecorded ones and names broken releases (row 230)', async () => {
    const { running, client, first } = await published()
    const [damaged, lost] = first.blobs
    const { context } = running.server
    await writeFile(context.blobs.localPath?.(damaged?.sha256 ?? '') ?? '', 'x')
    await context.blobs.delete(lost?.sha256 ?? '')
    const report = await checkStores(context, {}, { actor: 'local', requestId: 'test' })
    expect(report).toMatchObject({ damaged: [damaged?.sha256], lost: [lost?.sha256] })
    expect(report.broken).toHaveLength(2)
    expect((await client.missingBlobs(first.blobs.map(({ sha256 }) => sha256))).toSorted()).toEqual(
      [damaged?.sha256, lost?.sha256].toSorted(),
    )
    await client.uploadMissing(first.blobs)
    expect(await checkStores(context, {}, { actor: 'local', requestId: 'test' })).toMatchObject({
      damaged: [],
      lost: [],
      broken: [],
    })
  })

  it('migrate copies everything, can be repeated, and refuses the stores of another server', async () => {
    const { running, first } = await published()
    const open = async () => {
      const folder = await temporaryFolder()
      return { blobs: await openFolderBlobStore(folder), metadata: openSqliteMetadataStore(join(folder, 'm.sqlite')) }
    }
    const target = await open()
    const report = await migrate(running.server.context, target)
    expect(report.blobsCopied).toBe(report.blobs)
    expect(await migrate(running.server.context, target)).toMatchObject({ blobsCopied: 0 })
    const copy = await startServer({ blobs: target.blobs, metadata: target.metadata })
    expect((await fetch(`${copy.url}/manifest.json`)).headers.get('etag')).toBe(`"sha256-${first.pin.sha256}"`)
    const other = await published()
    await expect(migrate(other.running.server.context, target)).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
  })
})

describe('audit, events, webhooks, telemetry', () => {
  it('the audit log is a chain: a changed, removed or exchanged entry is found', async () => {
    const { client } = await published()
    const entries = await client.audit({ limit: 1000 })
    expect(verifyAuditEntries(entries)).toBe(entries.at(-1)?.hash)
    for (const broken of [
      entries.slice(1),
      entries.toReversed(),
      entries.filter((_entry, at) => at !== 1),
      entries.map((entry, at) => (at === 1 ? { ...entry, actor: 'somebody' } : entry)),
    ]) {
      expect(() => verifyAuditEntries(broken)).toThrow(expect.objectContaining({ code: 'SRV_AUDIT' }))
    }
  })

  it('events report what happens, and what happened after Last-Event-ID', async () => {
    const { running, client, publisher, first } = await published()
    const token = await running.token(['releases:read'])
    const stop = new AbortController()
    const listen = (headers: Record<string, string>) =>
      fetch(`${running.url}/v1/events`, {
        headers: { authorization: `Bearer ${token}`, ...headers },
        signal: stop.signal,
      })
    const read = async (answer: Response, wanted: string) => {
      let text = ''
      for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) {
        text += Buffer.from(part).toString()
        if (text.includes(wanted)) return text
      }
      return text
    }
    const past = await read(await listen({ 'last-event-id': '0' }), 'event: channel.publish')
    expect(past).toContain('id: ')
    // The head of the answer is out once the server listens for what happens.
    const live = read(await listen({}), 'event: channel.publish')
    await client.publish('metin2', 'stable', { version: first.model.version, head: await publisher.head(first) })
    expect(await live).toContain('"target":"metin2/stable"')
    stop.abort()
  })

  it('webhooks are signed, repeated, and delay no other delivery when the receiver is down', async () => {
    const { running, client } = await published()
    const got: { headers: Record<string, unknown>; body: string }[] = []
    let status = 500
    const receiver = createServer((request, response) => {
      let body = ''
      request
        .on('data', (part) => {
          body += String(part)
        })
        .on('end', () => {
          got.push({ headers: request.headers, body })
          response.writeHead(status).end()
        })
    })
    await new Promise<void>((resolve) => {
      receiver.listen(0, '127.0.0.1', resolve)
    })
    atEnd(async () => {
      receiver.close()
    })
    const { port } = receiver.address() as { port: number }
    const admin = { authorization: `Bearer ${await running.token(['admin'])}`, 'content-type': 'application/json' }
    const created = (await (
      await fetch(`${running.url}/v1/webhooks`, {
        method: 'POST',
        headers: admin,
        body: JSON.stringify({ url: `http://127.0.0.1:${port}/`, events: ['release.pin'] }),
      })
    ).json()) as { secret: string }
    expect(created.secret).toMatch(/^whsec_/)
    await client.pinRelease('metin2', 'stable', (await client.listReleases('metin2')).items[0]?.version ?? '', true)
    await expect.poll(() => got.length, { timeout: 30_000 }).toBe(1)
    status = 200
    const [first] = got
    const seconds = Number(first?.headers['webhook-timestamp'])
    expect(first?.headers['webhook-signature']).toBe(
      webhookHeaders([created.secret], String(first?.headers['webhook-id']), seconds, first?.body ?? '')[
        'webhook-signature'
      ],
    )
    expect(JSON.parse(first?.body ?? '')).toMatchObject({
      type: 'release.pin',
      data: { target: expect.stringContaining('metin2/stable') },
    })
  })

  it('reports are counted without address or id; malformed and large ones are refused', async () => {
    const { running, first } = await published()
    const { version } = first.model
    const send = (body: unknown) =>
      fetch(`${running.url}/v1/reports`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    expect(
      (await send({ product: 'metin2', channel: 'stable', version, result: 'updated', duration_ms: 1500 })).status,
    ).toBe(202)
    expect((await send({ format: 'm2pack', version, timestamp: '2026-11-21T00:00:00Z' })).status).toBe(202)
    expect((await send({ version: 'x'.repeat(3000) })).status).toBe(413)
    expect((await send({ version: '<script>' })).status).toBe(400)
    const stats = await (
      await fetch(`${running.url}/v1/products/metin2/stats`, {
        headers: { authorization: `Bearer ${await running.token(['stats:read'])}` },
      })
    ).json()
    expect(stats).toMatchObject({ items: [{ version, result: 'updated', count: 2, duration_ms: 1500 }] })
  })

  it('health, metrics and the API description', async () => {
    let now = Date.now()
    const { running } = await published({ clock: () => now, metricsToken: 'figures' })
    expect((await fetch(`${running.url}/healthz`)).status).toBe(200)
    expect(await (await fetch(`${running.url}/readyz`)).json()).toMatchObject({ status: 'pass' })
    now += 5 * day
    expect(await (await fetch(`${running.url}/readyz`)).json()).toMatchObject({
      status: 'warn',
      checks: expect.arrayContaining([expect.objectContaining({ name: 'head', status: 'warn' })]),
    })
    expect((await fetch(`${running.url}/metrics`)).status).toBe(401)
    expect(
      await (await fetch(`${running.url}/metrics`, { headers: { authorization: 'Bearer figures' } })).text(),
    ).toMatch(/keyturn_requests_total\{/)
    const api = (await (await fetch(`${running.url}/openapi.json`)).json()) as {
      openapi: string
      paths: Record<string, Record<string, unknown>>
    }
    expect(api.openapi).toBe('3.1.0')
    const listed = Object.entries(api.paths)
      .flatMap(([path, operations]) => Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`))
      .toSorted()
    expect(listed).toMatchSnapshot()
  })
})
