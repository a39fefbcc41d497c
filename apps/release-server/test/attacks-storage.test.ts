import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { incept, interact, seedSigner } from '@keyturn/kel/owner'
import type { SignedEvent } from '@keyturn/kel/owner'
import { concatBytes, ed25519PublicKey, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { Reports, sweepReports } from '../src/events/reports.ts'
import { startHeadSigner } from '../src/head-signer/server.ts'
import { packets } from '../src/keys/key-files.ts'
import { refuseTooManyPackets, sweepPackets } from '../src/keys/packet-limit.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import type { MetadataStore } from '../src/storage/metadata-store.ts'
import { MAIN } from './processes.ts'
import { day, seedOf, signerOf, TestPublisher } from './publisher.ts'
import { startServer, temporaryFolder } from './support.ts'

describe('what anonymous callers store', () => {
  async function published(options: Parameters<typeof startServer>[0] = {}) {
    const running = await startServer(options)
    const admin = await running.client(['admin'])
    const publisher = await TestPublisher.create({ now: (options.clock ?? Date.now)() })
    await publisher.introduce(admin)
    const first = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(admin, first)
    return { ...running, version: first.model.version }
  }

  it('reports about releases that do not exist are not counted', async () => {
    const { server, version } = await published()
    const reports = new Reports(server.context)
    for (const other of ['0', '9.9', 'x'.repeat(128)])
      await reports.add({ product: 'metin2', channel: 'stable', version: other })
    await reports.add({ product: 'metin2', channel: 'nowhere', version })
    await reports.add({ product: 'elsewhere', channel: 'stable', version })
    expect(await reports.list('metin2', '', () => true)).toEqual([])
    await reports.add({ product: 'metin2', channel: 'stable', version })
    expect(await reports.list('metin2', '', () => true)).toMatchObject([{ version, count: 1 }])
  })

  it('made-up results and codes share one line, and push nobody out', async () => {
    const { server, version } = await published()
    const reports = new Reports(server.context)
    const send = (code: string) =>
      reports.add({ product: 'metin2', channel: 'stable', version, result: 'failed', code })
    await send('LA_HONEST')
    for (let at = 0; at < 2000; at++) await send(`MADE_UP_${at}`)
    await send('LA_HONEST')
    const lines = await reports.list('metin2', '', () => true)
    expect(lines.length).toBeLessThanOrEqual(501)
    expect(lines.reduce((sum, { count }) => sum + count, 0)).toBe(2002)
    expect(lines.find(({ code }) => code === 'LA_HONEST')).toMatchObject({ count: 2 })
    expect(lines.find(({ result }) => result === 'other')?.count).toBeGreaterThan(1000)
    // Another process, and this one after a restart, keep to the same bound.
    const again = new Reports(server.context)
    await again.add({ product: 'metin2', channel: 'stable', version, result: 'failed', code: 'LATER' })
    expect((await again.list('metin2', '', () => true)).length).toBeLessThanOrEqual(501)
  })

  it('figures are forgotten after 400 days', async () => {
    let now = Date.now()
    const { server, version } = await published({ clock: () => now })
    const reports = new Reports(server.context)
    await reports.add({ product: 'metin2', channel: 'stable', version })
    await reports.flush()
    now += 399 * day
    await sweepReports(server.context)
    expect(await reports.list('metin2', '', () => true)).toHaveLength(1)
    now += 3 * day
    await sweepReports(server.context)
    expect(await reports.list('metin2', '', () => true)).toEqual([])
  })

  it('packets of the relay have a cap and an end', async () => {
    let now = Date.now()
    const { server } = await startServer({ clock: () => now })
    const { context } = server
    const fill = Array.from({ length: 20_000 }, (_, at) => ({ key: `a${at}`, value: { last_seen_ms: now } }))
    await context.metadata.transaction([], (records) => packets.put(records, ...fill))
    await expect(refuseTooManyPackets(context, 'stranger')).rejects.toMatchObject({ code: 'SRV_LIMIT' })
    // An identity with a packet renews it, and one that publishes its keys here finds room.
    await refuseTooManyPackets(context, 'a7')
    await context.metadata.transaction([], (records) =>
      records.put('key-files', { key: 'known/pub/noise.app/v1/keys', value: { sequence: 1 } }),
    )
    await refuseTooManyPackets(context, 'known')
    await context.metadata.transaction([], (records) =>
      packets.put(records, { key: 'known', value: { last_seen_ms: now } }),
    )
    now += 8 * day
    await sweepPackets(context)
    expect((await packets.all(context.metadata)).map(({ key }) => key)).toEqual(['known'])
    await refuseTooManyPackets(context, 'stranger')
  })
})

describe('the witness', () => {
  const vault = { passphrase: 'x', scryptLogN: 4 }

  /** A store that counts how often logs of the witness are read. */
  function counting(store: MetadataStore): { store: MetadataStore; reads: () => number } {
    let reads = 0
    const counted = new Proxy(store, {
      get: (target, name) => {
        if (name === 'list')
          return (collection: string, query?: object) => {
            if (collection === 'witness-logs') reads += 1
            return target.list(collection, query)
          }
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
    return { store: counted, reads: () => reads }
  }

  /** A product of this identity. */
  const product = (events: readonly SignedEvent[]) => ({
    key: 'ours',
    value: {
      slug: 'ours',
      name: 'ours',
      pin: `did:keri:${events[0]?.prefix}?sn=0&said=${events[0]?.said}`,
      default_channel: 'stable',
      is_default: false,
      runtime_key_access: 'open',
      created_at: '2026-01-01T00:00:00Z',
    },
  })

  async function world() {
    const { store, reads } = counting(openSqliteMetadataStore(':memory:'))
    const running = await startServer({ metadata: store, vault })
    const { prefix } = (await (await fetch(`${running.url}/witness`)).json()) as { prefix: string }
    const keys = (name: string) => ed25519PublicKey(seedOf(name))
    const events: SignedEvent[] = [
      await incept(
        { keys: [keys('a0')], nextKeys: [keys('a1')], witnesses: [prefix], witnessThreshold: 1 },
        seedSigner([seedOf('a0')]),
      ),
    ]
    for (let at = 0; at < 5; at++)
      events.push(await interact((events.at(-1) as SignedEvent).state, [], seedSigner([seedOf('a0')])))
    const log = concatBytes(...events.map(({ message }) => message))
    const post = (body: Uint8Array) =>
      fetch(`${running.url}/witness/receipts`, {
        method: 'POST',
        headers: { 'content-type': 'application/cesr' },
        body: body as Uint8Array<ArrayBuffer>,
      })
    const place = (sn: number, identity = events[0]?.prefix ?? '') =>
      fetch(`${running.url}/witness/receipts?pre=${identity}&sn=${sn}`)
    return { ...running, store, reads, events, log, post, place }
  }

  it('reads no log again for a receipt that was given, nor for a place that has none', async () => {
    const { reads, log, post, place } = await world()
    const given = new Uint8Array(await (await post(log)).arrayBuffer())
    const before = reads()
    const receipts = await Promise.all([0, 1, 2, 3, 4, 5].map(async (sn) => (await place(sn)).arrayBuffer()))
    expect(concatBytes(...receipts.map((receipt) => new Uint8Array(receipt)))).toEqual(given)
    expect((await place(6)).status).toBe(404)
    expect((await place(0, 'E'.repeat(44))).status).toBe(404)
    expect(reads()).toBe(before)
  })

  it('finds the receipts of a log from before they had records of their own, once', async () => {
    const { store, reads, log, post, place } = await world()
    await post(log)
    await store.transaction([], async (records) => {
      for (const collection of ['witness-receipts', 'witness-complete'])
        await records.delete(collection, ...(await records.list(collection)).map(({ key }) => key))
    })
    expect((await place(3)).status).toBe(200)
    const before = reads()
    expect([(await place(0)).status, (await place(5)).status, (await place(6)).status]).toEqual([200, 200, 404])
    expect(reads()).toBe(before)
  })

  it('serves a bounded number of strangers, and always the identities of its own products', async () => {
    const { store, server, events, log, post } = await world()
    const fill = Array.from({ length: 10_000 }, (_, at) => ({ key: `stranger${at}`, value: { count: 1 } }))
    await store.transaction([], (records) => records.put('witness-tips', ...fill))
    const refused = await post(log)
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([413, 'SRV_LIMIT'])
    await server.context.metadata.transaction([], (records) => records.put('products', product(events)))
    expect((await post(log)).status).toBe(200)
  })

  it('verifies no long log of a stranger', async () => {
    const { server, events, post } = await world()
    const long = [...events]
    for (let length = 0; length < 64 * 1024; length += (long.at(-1) as SignedEvent).message.length)
      long.push(await interact((long.at(-1) as SignedEvent).state, [], seedSigner([seedOf('a0')])))
    const whole = concatBytes(...long.map(({ message }) => message))
    const refusal = async (stream: Uint8Array) => {
      const answer = await post(stream)
      return [answer.status, ((await answer.json()) as { code: string }).code]
    }
    expect(await refusal(whole)).toEqual([413, 'SRV_LIMIT'])
    // Nor one whose beginning was shown before, nor one that does not say whose it is.
    expect((await post(concatBytes(...events.map(({ message }) => message)))).status).toBe(200)
    expect(await refusal(whole)).toEqual([413, 'SRV_LIMIT'])
    expect(await refusal(concatBytes(utf8Encode(' '), whole))).toEqual([413, 'SRV_LIMIT'])
    await server.context.metadata.transaction([], (records) => records.put('products', product(events)))
    expect((await post(whole)).status).toBe(200)
  })

  it('answers others all the while that it verifies a long log of its own', async () => {
    const { server, url, events, post } = await world()
    await server.context.metadata.transaction([], (records) => records.put('products', product(events)))
    const long = [...events]
    while (long.length < 400)
      long.push(await interact((long.at(-1) as SignedEvent).state, [], seedSigner([seedOf('a0')])))
    const whole = concatBytes(...long.map(({ message }) => message))
    for (const round of ['new', 'known']) {
      let isOver = false
      const answer = post(whole).finally(() => {
        isOver = true
      })
      let answered = 0
      while (!isOver) {
        expect((await fetch(`${url}/healthz`)).status).toBe(200)
        answered += 1
      }
      expect((await answer).status).toBe(200)
      // In one go, some two or three would have come in between.
      expect(answered, round).toBeGreaterThan(10)
    }
  })
})

describe('files of the server', () => {
  const isPosix = process.platform !== 'win32'

  it.runIf(isPosix)('the database and what SQLite puts beside it are 0600 from their creation', async () => {
    const folder = await temporaryFolder()
    await chmod(folder, 0o755)
    const before = process.umask(0o022)
    try {
      const store = openSqliteMetadataStore(join(folder, 'metadata.sqlite'))
      await store.transaction([], (records) => records.put('a', { key: 'b', value: 1 }))
      const modes = await Promise.all(
        readdirSync(folder).map(async (name) => [name, ((await stat(join(folder, name))).mode & 0o777).toString(8)]),
      )
      expect(modes.length).toBeGreaterThan(1)
      expect(modes.filter(([, mode]) => mode !== '600')).toEqual([])
      await store.close()
      // One that an earlier version left open to all is closed.
      await chmod(join(folder, 'metadata.sqlite'), 0o644)
      await openSqliteMetadataStore(join(folder, 'metadata.sqlite')).close()
      expect((await stat(join(folder, 'metadata.sqlite'))).mode & 0o777).toBe(0o600)
    } finally {
      process.umask(before)
    }
  })

  it.runIf(isPosix)('the head signer removes a socket that nobody answers on, and nothing else', async () => {
    const folder = await temporaryFolder()
    const socket = join(folder, 'signer.sock')
    const options = { socket, signer: signerOf('head 1'), pin: 'did:keri:x', fetchPublic: async () => undefined }
    await writeFile(socket, 'somebody’s file')
    await expect(startHeadSigner(options)).rejects.toMatchObject({ code: 'SRV_CONFIG' })
    expect(await readFile(socket, 'utf8')).toBe('somebody’s file')
    const folderName = join(folder, 'a-folder')
    await mkdir(folderName)
    await expect(startHeadSigner({ ...options, socket: folderName })).rejects.toMatchObject({ code: 'SRV_CONFIG' })
    const taken = join(folder, 'taken.sock')
    const other = createServer(() => undefined)
    await new Promise<void>((resolve) => {
      other.listen(taken, resolve)
    })
    await expect(startHeadSigner({ ...options, socket: taken })).rejects.toMatchObject({ code: 'SRV_CONFIG' })
    await new Promise((resolve) => other.close(resolve))
    const fresh = join(folder, 'fresh.sock')
    const signer = await startHeadSigner({ ...options, socket: fresh })
    expect((await stat(fresh)).mode & 0o777).toBe(0o600)
    await signer.close()
    expect(existsSync(fresh)).toBe(false)
  })

  it.each([
    ['token', 'list'],
    ['token', 'revoke', 'x'],
    ['audit-verify'],
    ['fsck'],
    ['gc'],
    ['export-static', '--to', 'nowhere'],
    ['migrate', '--to', 'nowhere.json'],
  ])('a mistyped data folder is refused by %s %s, and nothing is made (A12)', async (...args) => {
    const folder = await temporaryFolder()
    const data = join(folder, 'typo')
    await writeFile(join(folder, 'passphrase'), 'x\n')
    const { status, stdout } = spawnSync(process.execPath, ['--no-warnings', MAIN, '--data', data, '--json', ...args], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '', KEYTURN_PASSPHRASE_FILE: join(folder, 'passphrase') },
    })
    expect([status, (JSON.parse(stdout) as { error: { code: string } }).error.code]).toEqual([2, 'SRV_CONFIG'])
    expect(readdirSync(folder)).toEqual(['passphrase'])
  })
})
