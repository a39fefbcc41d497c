import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import dnsPacket from 'dns-packet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  concatBytes,
  ed25519Sign,
  ed25519Verify,
  hexEncode,
  sha256,
  utf8Encode,
  Writer,
  z32Decode,
  z32Encode,
} from '@keyturn/primitives'
import { createTransportIdentity, NoiseKeysError, parseIdentityName, transportIdentity } from '../src/index.ts'
import {
  createRelayHandler,
  decodeDnsPacket,
  encodeDnsPacket,
  isMoreRecent,
  MAX_DNS_PACKET_BYTES,
  memoryPacketStore,
  nextTimestampUs,
  packetSigningBytes,
  packetTtlS,
  RelayClient,
  relayPayload,
  signPacket,
  signPacketWith,
  txtRecord,
  txtValue,
  verifyPacket,
} from '../src/pkarr/index.ts'
import type { DnsRecord, PacketNetwork, RelayRequest, SignedPacket } from '../src/pkarr/index.ts'
import { dhtTarget } from '../src/dht/index.ts'
import { codeOf, hex, publishedVectors, rejectionOf } from './support.ts'

interface PkarrVectors {
  z32: { hex: string; z32: string }[]
  bep44: { public_key: string; seq: number; v_bencoded: string; signable: string; signature: string; target: string }[]
  from_pkarr_history: {
    secret_seed: string
    z32: string
    timestamp_us: string
    signature: string
    relay_payload: string
  }[]
  rust_wasm: {
    name: string
    secret_key: string
    public_key: string
    timestamp_us: string
    signature: string
    dns_packet: string
    relay_payload: string
  }[]
  own: {
    name: string
    must_fail?: boolean
    secret_key: string
    public_key: string
    timestamp_us: string
    dns_packet: string
    signature: string
    relay_payload: string
    dht_target_sha1: string
    records?: { name: string; type: number; ttl: number; txt?: string; target?: string }[]
  }[]
  fit: { with_homeserver_record: { keys: number; bytes: number }[]; noise_keys_only: { keys: number; bytes: number }[] }
}

const text = publishedVectors('pkarr.json')
const vectors = JSON.parse(text ?? '{"own":[]}') as PkarrVectors
const seed = sha256(utf8Encode('pkarr test'))
const identity = createTransportIdentity(() => seed.slice())
const at = 1_733_356_800_000_000n
const txt = (name: string, value: string, ttlS = 300): DnsRecord => txtRecord(name, value, ttlS)

/** A homeserver record, type HTTPS: priority 0, then the target's name. */
function httpsRdata(target: string): Uint8Array {
  return new Writer().u16be(0).u8(target.length).bytes(utf8Encode(target)).u8(0).finish()
}

describe.skipIf(text === undefined)('pkarr vectors', () => {
  it('z-base-32 and BEP 44', () => {
    for (const vector of vectors.z32) {
      expect(z32Encode(hex(vector.hex))).toBe(vector.z32)
      expect(hexEncode(z32Decode(vector.z32))).toBe(vector.hex)
    }
    for (const vector of vectors.bep44) {
      expect(ed25519Verify(hex(vector.public_key), utf8Encode(vector.signable), hex(vector.signature))).toBe(true)
      expect(hexEncode(dhtTarget(hex(vector.public_key)))).toBe(vector.target)
    }
  })

  it('packets signed by the Rust and the first JS implementation are read', () => {
    for (const vector of vectors.rust_wasm) {
      const packet = verifyPacket(hex(vector.public_key), hex(vector.relay_payload))
      expect(packet.timestampUs).toBe(BigInt(vector.timestamp_us))
      // Reading and writing again gives the Rust encoder's bytes and, Ed25519 being deterministic, its signature.
      const again = signPacket(hex(vector.secret_key), packet.timestampUs, packet.records)
      expect(hexEncode(relayPayload(again))).toBe(vector.relay_payload)
    }
    for (const vector of vectors.from_pkarr_history) {
      const packet = verifyPacket(parseIdentityName(vector.z32).publicKey, hex(vector.relay_payload))
      expect(packet.records.map(({ name, ttlS }) => [name, ttlS])).toEqual([
        ['@', 0],
        ['foo', 30],
      ])
      expect(txtValue(packet.records[1] as DnsRecord)).toBe('bar')
    }
  })

  it('packets of our own are made byte for byte, or refused where they must be', () => {
    let made = 0
    let refused = 0
    for (const vector of vectors.own) {
      const payload = hex(vector.relay_payload)
      if (vector.must_fail === true) {
        expect(['NK_DNS_SIZE', 'NK_BINDING_SIGNATURE']).toContain(
          codeOf(() => verifyPacket(hex(vector.public_key), payload)),
        )
        refused += 1
        continue
      }
      const packet = verifyPacket(hex(vector.public_key), payload)
      expect(hexEncode(packetSigningBytes(packet.timestampUs, packet.dnsPacket))).toContain(vector.dns_packet)
      expect(hexEncode(dhtTarget(packet.publicKey))).toBe(vector.dht_target_sha1)
      const records =
        vector.records?.map(({ name, type, ttl, txt: value, target }) => {
          return type === 16 ? txt(name, value ?? '', ttl) : { name, type, ttlS: ttl, rdata: httpsRdata(target ?? '') }
        }) ?? packet.records
      expect([
        vector.name,
        hexEncode(relayPayload(signPacket(hex(vector.secret_key), packet.timestampUs, records))),
      ]).toEqual([vector.name, vector.relay_payload])
      made += 1
    }
    expect([made, refused]).toEqual([vectors.own.length - 3, 3])
    expect(vectors.own).toHaveLength(11)
  })

  it('keys fit a packet as measured', () => {
    const value = 'x'.repeat(157)
    for (const [list, homeserver] of [
      [vectors.fit.noise_keys_only, false],
      [vectors.fit.with_homeserver_record, true],
    ] as const) {
      for (const { keys, bytes } of list) {
        const records = Array.from({ length: keys }, (_, index) => txt(`_noise.device-v${index + 1}`, value))
        if (homeserver) records.unshift({ name: '_pubky', type: 65, ttlS: 3600, rdata: httpsRdata(identity.name) })
        if (bytes > MAX_DNS_PACKET_BYTES)
          expect(codeOf(() => encodeDnsPacket(identity.name, records))).toBe('NK_DNS_SIZE')
        else expect(encodeDnsPacket(identity.name, records)).toHaveLength(bytes)
      }
    }
  })
})

describe('DNS packets', () => {
  const name = fc.constantFrom('@', 'foo', '_noise', '_noise.default', 'a.b.c', '_noise.device-v2', 'b.c')
  const record = fc.record({ name, ttlS: fc.nat(100_000), value: fc.string({ maxLength: 40 }) })

  it('come back, and dns-packet reads them alike', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 6 }), (list) => {
        const records = list.map(({ name: at, value, ttlS }) => txt(at, value, ttlS))
        const packet = encodeDnsPacket(identity.name, records)
        expect(decodeDnsPacket(identity.name, packet)).toEqual(records)
        const peer = dnsPacket.decode(Buffer.from(packet)) as {
          answers: { name: string; ttl: number; data: Uint8Array[] }[]
        }
        expect(peer.answers.map(({ name: absolute }) => absolute)).toEqual(
          records.map((one) => (one.name === '@' ? identity.name : `${one.name}.${identity.name}`)),
        )
        expect(peer.answers.map(({ ttl }) => ttl)).toEqual(records.map(({ ttlS }) => ttlS))
        expect(peer.answers.map(({ data }) => Buffer.concat(data).toString())).toEqual(list.map(({ value }) => value))
      }),
      { numRuns: 200 },
    )
  })

  it('written by dns-packet, without compression and with names in their data, are read', () => {
    const answers = [
      { name: `foo.${identity.name}`, type: 'TXT', ttl: 30, data: ['bar'] },
      { name: identity.name, type: 'A', ttl: 5, data: '127.0.0.1' },
      { name: `www.${identity.name}`, type: 'CNAME', ttl: 5, data: `foo.${identity.name}` },
      { name: identity.name, type: 'MX', ttl: 5, data: { preference: 7, exchange: 'mail.example' } },
    ]
    const packet = Uint8Array.from(dnsPacket.encode({ type: 'response', id: 0, answers } as never))
    const records = decodeDnsPacket(identity.name, packet)
    const back = dnsPacket.decode(Buffer.from(encodeDnsPacket(identity.name, records))) as {
      answers: { type: string; data: unknown }[]
    }
    expect(back.answers.map(({ type, data }) => [type, Array.isArray(data) ? String(data[0]) : data])).toEqual(
      answers.map(({ type, data }) => [type, Array.isArray(data) ? String(data[0]) : data]),
    )
  })

  it('splits long values and joins them', () => {
    for (const length of [0, 1, 255, 256, 510, 700])
      expect(txtValue(txt('@', 'v'.repeat(length)))).toBe('v'.repeat(length))
    expect(codeOf(() => txtValue({ ...txt('@', 'ab'), rdata: Uint8Array.of(5, 1) }))).toBe('NK_RECORD')
    expect(codeOf(() => txtValue({ ...txt('@', 'ab'), rdata: Uint8Array.of(1, 0xff) }))).toBe('NK_RECORD')
  })

  it('size, loops, long labels, foreign names and other sections are refused (row 155)', () => {
    const header = (answers: number, other = 0): Uint8Array =>
      new Writer().u16be(0).u16be(0x8000).u16be(0).u16be(answers).u16be(other).u16be(0).finish()
    const decode = (bytes: Uint8Array): string | undefined => codeOf(() => decodeDnsPacket(identity.name, bytes))
    const tail = new Writer().u16be(16).u16be(1).u32be(0).u16be(0).finish()
    const origin = new Writer().u8(52).bytes(utf8Encode(identity.name)).u8(0).finish()
    expect(decode(concatBytes(header(1), origin, tail))).toBeUndefined()
    expect(decode(new Uint8Array(1001))).toBe('NK_DNS_SIZE')
    expect(codeOf(() => encodeDnsPacket(identity.name, [txt('@', 'x'.repeat(1000))]))).toBe('NK_DNS_SIZE')
    expect(decode(concatBytes(header(1), Uint8Array.of(0xc0, 12), tail))).toBe('NK_RECORD')
    expect(decode(concatBytes(header(1), Uint8Array.of(1, 97, 0xc0, 12), tail))).toBe('NK_RECORD')
    expect(decode(concatBytes(header(1), Uint8Array.of(0xff, 0xff), tail))).toBe('NK_RECORD')
    expect(decode(concatBytes(header(1), Uint8Array.of(64), new Uint8Array(64), Uint8Array.of(0), tail))).toBe(
      'NK_RECORD',
    )
    expect(decode(concatBytes(header(1), new Writer().u8(1).u8(97).u8(0).finish(), tail))).toBe('NK_RECORD')
    expect(decode(header(1))).toBe('NK_RECORD')
    expect(decode(header(0, 1))).toBe('NK_RECORD')
    expect(decode(concatBytes(header(0), Uint8Array.of(0)))).toBe('NK_RECORD')
    for (const bad of ['a..b', 'x'.repeat(64), 'a b', 'é', `${'abcdefgh.'.repeat(25)}x`]) {
      expect(codeOf(() => encodeDnsPacket(identity.name, [txt(bad, 'x')]))).toBe('NK_RECORD')
    }
  })

  it('any bytes are records or an error of this package', () => {
    const valid = encodeDnsPacket(identity.name, [txt('_noise', 'v'), txt('a._noise', 'w'), txt('b.a._noise', 'z')])
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(valid.length),
        (edits, cut) => {
          const bytes = valid.slice(0, cut === 0 ? valid.length : cut)
          for (const [position, byte] of edits) if (position < bytes.length) bytes[position] = byte
          try {
            decodeDnsPacket(identity.name, bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(NoiseKeysError)
          }
        },
      ),
      { numRuns: 3000 },
    )
  })
})

describe('signed packets', () => {
  it('a signature of another key, or any changed bit, is refused (row 155)', async () => {
    const packet = signPacket(seed, at, [txt('@', 'x')])
    const payload = relayPayload(packet)
    for (let index = 0; index < payload.length; index += 1) {
      const changed = payload.map((byte, position) => (position === index ? byte ^ 4 : byte))
      expect(codeOf(() => verifyPacket(packet.publicKey, changed))).toBe('NK_BINDING_SIGNATURE')
    }
    for (let length = 0; length < 72; length += 1)
      expect(codeOf(() => verifyPacket(packet.publicKey, payload.subarray(0, length)))).toBe('NK_RECORD')
    const other = createTransportIdentity(() => new Uint8Array(32).fill(1)).publicKey
    expect(codeOf(() => verifyPacket(other, payload))).toBe('NK_BINDING_SIGNATURE')
    expect(codeOf(() => verifyPacket(new Uint8Array(32), payload))).toBe('NK_IDENTITY')
    expect(await rejectionOf(signPacketWith(other, () => packet.signature, at, []))).toBe('NK_BINDING_SIGNATURE')
  })

  it('are ordered by time, then by their bytes; the next is always later', () => {
    const first = signPacket(seed, at, [txt('@', 'a')])
    const tie = signPacket(seed, at, [txt('@', 'b')])
    const later = signPacket(seed, at + 1n, [txt('@', 'a')])
    expect([
      isMoreRecent(tie, first),
      isMoreRecent(first, tie),
      isMoreRecent(later, tie),
      isMoreRecent(first, first),
    ]).toEqual([true, false, true, false])
    expect(nextTimestampUs(1000)).toBe(1_000_000n)
    expect(nextTimestampUs(1000, first)).toBe(at + 1n)
    expect(packetTtlS(signPacket(seed, at, []))).toBe(300)
    expect([1, 1000, 1e6].map((ttlS) => packetTtlS(signPacket(seed, at, [txt('@', 'a', ttlS)])))).toEqual([
      300, 1000, 86_400,
    ])
  })
})

describe('relay handler', () => {
  let nowMs = 1_800_000_000_000
  const clock = (): number => nowMs
  const request = (method: string, packet?: SignedPacket, extra: Partial<RelayRequest> = {}): RelayRequest => ({
    method,
    path: `/${identity.name}`,
    query: new URLSearchParams(),
    headers: {},
    ...(packet && { body: relayPayload(packet) }),
    ...extra,
  })

  it('keeps the most recent packet, answers 204, 409, 404, 400, 413, 405', async () => {
    const relay = createRelayHandler({ store: memoryPacketStore(), clock })
    expect((await relay(request('GET'))).status).toBe(404)
    const [first, second] = [signPacket(seed, at, [txt('@', 'a')]), signPacket(seed, at + 1n, [txt('@', 'b')])]
    expect(await relay(request('PUT', second))).toMatchObject({
      status: 204,
      headers: { 'pkarr-dht-stored-nodes': '1' },
    })
    expect((await relay(request('PUT', second))).status).toBe(204)
    expect(await relay(request('PUT', first))).toMatchObject({ status: 409, code: 'NK_CONFLICT' })
    const answer = await relay(request('GET'))
    expect([answer.status, answer.headers['content-type'], answer.headers['cache-control']]).toEqual([
      200,
      'application/pkarr.org/relays#payload',
      'public, max-age=300',
    ])
    expect(answer.body).toEqual(relayPayload(second))
    expect((await relay(request('PUT', undefined, { body: new Uint8Array(1073) }))).status).toBe(413)
    expect((await relay(request('PUT', undefined, { body: new Uint8Array(80) }))).status).toBe(400)
    expect((await relay(request('PUT', undefined, {}))).status).toBe(400)
    expect((await relay(request('GET', undefined, { path: '/nonsense' }))).status).toBe(400)
    expect((await relay(request('GET', undefined, { query: new URLSearchParams('policy=Other') }))).status).toBe(400)
    expect((await relay(request('OPTIONS'))).headers['access-control-allow-methods']).toBe('GET, PUT, OPTIONS')
    expect((await relay(request('DELETE'))).status).toBe(405)
  })

  it('answers 304 by the full timestamp, not by its second', async () => {
    const relay = createRelayHandler({ store: memoryPacketStore(), clock })
    await relay(request('PUT', signPacket(seed, at + 5n, [])))
    const since = (ms: number): Partial<RelayRequest> => ({
      headers: { 'if-modified-since': new Date(ms).toUTCString() },
    })
    expect((await relay(request('GET', undefined, since(Number(at / 1000n))))).status).toBe(200)
    expect((await relay(request('GET', undefined, since(Number(at / 1000n) + 1000)))).status).toBe(304)
    expect((await relay(request('GET', undefined, { headers: { 'if-modified-since': 'yesterday' } }))).status).toBe(200)
  })

  it('asks its network when the packet is no longer fresh, and does not go back', async () => {
    let inNetwork: SignedPacket | undefined = signPacket(seed, at, [txt('@', 'old')])
    let asked = 0
    const network: PacketNetwork = {
      get: () => {
        asked += 1
        return Promise.resolve(inNetwork)
      },
      put: () => Promise.resolve(9),
    }
    const relay = createRelayHandler({ store: memoryPacketStore(), network, clock })
    const get = async (policy: string): Promise<string> => {
      const { status, body } = await relay(request('GET', undefined, { query: new URLSearchParams({ policy }) }))
      return status === 200
        ? txtValue(verifyPacket(identity.publicKey, body as Uint8Array).records[0] as DnsRecord)
        : String(status)
    }
    expect([await get('CacheOnly'), await get('CacheFirst'), await get('CacheFirst'), asked]).toEqual([
      '404',
      'old',
      'old',
      1,
    ])
    expect(
      (await relay(request('PUT', signPacket(seed, at + 1n, [txt('@', 'new')])))).headers['pkarr-dht-stored-nodes'],
    ).toBe('9')
    expect([await get('CacheFirst'), await get('NetworkOnly'), await get('CacheFirst')]).toEqual(['new', 'old', 'new'])
    nowMs += 400_000
    inNetwork = undefined
    expect([await get('CacheFirst'), await get('NetworkOnly')]).toEqual(['new', '404'])
    inNetwork = signPacket(seed, at + 9n, [txt('@', 'newest')])
    expect((await relay(request('PUT', signPacket(seed, at + 5n, [])))).status).toBe(409)
    expect(await get('CacheFirst')).toBe('newest')
  })

  it('lets only those publish who may', async () => {
    const relay = createRelayHandler({ store: memoryPacketStore(), allow: ({ name }) => name !== identity.name })
    expect((await relay(request('PUT', signPacket(seed, at, [])))).status).toBe(403)
  })

  it('keeps the most recent of many that come at once', async () => {
    const store = memoryPacketStore()
    const relay = createRelayHandler({ store, clock })
    const packets = Array.from({ length: 6 }, (_, index) => signPacket(seed, at + BigInt(index), []))
    await Promise.all(packets.map((packet) => relay(request('PUT', packet))))
    expect((await relay(request('GET'))).body).toEqual(relayPayload(packets[5] as SignedPacket))
  })
})

/** A relay on a free port of this machine. */
async function listen(handler: ReturnType<typeof createRelayHandler>): Promise<{ server: Server; url: string }> {
  const server = createServer((incoming, outgoing) => {
    void (async () => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      const url = new URL(incoming.url ?? '/', 'http://relay')
      const answer = await handler({
        method: incoming.method ?? 'GET',
        path: url.pathname,
        query: url.searchParams,
        headers: incoming.headers as Record<string, string>,
        body: Uint8Array.from(Buffer.concat(chunks)),
      })
      outgoing.writeHead(answer.status, answer.headers)
      outgoing.end(answer.body)
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe('RelayClient', () => {
  const relays: { server: Server; url: string }[] = []
  beforeAll(async () => {
    for (let count = 0; count < 2; count += 1)
      relays.push(await listen(createRelayHandler({ store: memoryPacketStore() })))
  })
  afterAll(() => relays.forEach(({ server }) => server.close()))
  const make = (options = {}): RelayClient =>
    new RelayClient({ relays: relays.map(({ url }) => url), timeoutMs: 240_000, ...options })
  const signer = (bytes: Uint8Array): Uint8Array => ed25519Sign(seed, bytes)

  it('publishes to all relays, merging what is there', async () => {
    const client = make()
    await client.update(identity, signer, (records) => [...records, txt('_pubky', 'home')])
    const packet = await make().update(identity, signer, (records) => [
      ...records.filter(({ name }) => name !== '_noise'),
      txt('_noise', 'list'),
    ])
    expect(packet.records.map(({ name }) => name)).toEqual(['_pubky', '_noise'])
    for (const { url } of relays) {
      const seen = await new RelayClient({ relays: [url], timeoutMs: 240_000 }).resolve(identity)
      expect(seen?.timestampUs).toBe(packet.timestampUs)
    }
  })

  it('loses nothing when two publishers change one packet at the same time', async () => {
    const { url, server } = await listen(createRelayHandler({ store: memoryPacketStore() }))
    const slow = new RelayClient({ relays: [url], timeoutMs: 240_000 })
    const quick = new RelayClient({ relays: [url], timeoutMs: 240_000 })
    let attempts = 0
    const packet = await slow.update(
      identity,
      async (bytes) => {
        // Between reading and publishing, somebody else publishes.
        attempts += 1
        if (attempts === 1) await quick.update(identity, signer, (records) => [...records, txt('quick', '1')])
        return signer(bytes)
      },
      (records) => [...records, txt('slow', '1')],
    )
    expect(attempts).toBe(2)
    expect(packet.records.map(({ name }) => name).toSorted()).toEqual(['quick', 'slow'])
    server.close()
  })

  it('takes a packet on the condition that the base is the newest, and one that follows a base it missed', async () => {
    const handler = createRelayHandler({ store: memoryPacketStore() })
    const put = async (timestampUs: bigint, headers: Record<string, string> = {}): Promise<number> => {
      const body = relayPayload(signPacket(seed, timestampUs, []))
      const request = { method: 'PUT', path: `/${identity.name}`, query: new URLSearchParams(), headers, body }
      return (await handler(request)).status
    }
    expect(await put(at, { 'if-none-match': '*' })).toBe(204)
    expect(await put(at + 1n, { 'if-none-match': '*' })).toBe(412)
    expect(await put(at + 1n, { 'if-match': String(at - 1n) })).toBe(412)
    expect(await put(at + 1n, { 'if-match': 'soon' })).toBe(412)
    expect(await put(at + 1n, { 'if-match': String(at) })).toBe(204)
    expect(await put(at + 1n, { 'if-match': String(at) })).toBe(204) // the same once more: an answer may be lost
    expect(await put(at + 3n, { 'if-match': String(at + 2n) })).toBe(204)
  })

  it('W3: notices a relay that goes back, unless another has the newer packet', async () => {
    const client = make()
    const newest = await client.resolve(identity, 'network')
    const old = await listen(createRelayHandler({ store: memoryPacketStore() }))
    await new RelayClient({ relays: [old.url], timeoutMs: 240_000 }).publish(signPacket(seed, at, []), identity.name)
    let urls = relays.map(({ url }) => url)
    const switching = new RelayClient({
      relays: ['http://a'],
      timeoutMs: 240_000,
      fetch: (_input, init) => fetch(`${urls[0]}/${identity.name}`, init),
    })
    expect((await switching.resolve(identity, 'network'))?.timestampUs).toBe(newest?.timestampUs)
    urls = [old.url]
    expect(await rejectionOf(switching.resolve(identity, 'network'))).toBe('NK_ROLLBACK')
    old.server.close()
  })

  it('answers with its codes when relays are down, broken, hostile or busy', async () => {
    const gone = await listen(createRelayHandler({ store: memoryPacketStore() }))
    await new Promise((resolve) => gone.server.close(resolve))
    expect(await rejectionOf(new RelayClient({ relays: [gone.url], timeoutMs: 240_000 }).resolve(identity))).toBe(
      'NK_UNREACHABLE',
    )
    const answering = (status: number, body?: BodyInit): RelayClient =>
      new RelayClient({ relays: ['http://r'], fetch: () => Promise.resolve(new Response(body ?? null, { status })) })
    for (const [status, code] of [
      [400, 'NK_RELAY'],
      [413, 'NK_RELAY'],
      [429, 'NK_UNREACHABLE'],
      [503, 'NK_UNREACHABLE'],
      [409, 'NK_CONFLICT'],
      [412, 'NK_CONFLICT'],
      [428, 'NK_CONFLICT'],
    ] as const) {
      expect(await rejectionOf(answering(status).publish(signPacket(seed, at, []), identity.name))).toBe(code)
    }
    expect(await answering(404).resolve(identity)).toBeUndefined()
    expect(await rejectionOf(answering(200, new Uint8Array(5000)).resolve(identity))).toBe('NK_UNREACHABLE')
    expect(await rejectionOf(answering(200, '').resolve(identity))).toBe('NK_UNREACHABLE')
    const silent = new RelayClient({
      relays: ['http://r'],
      timeoutMs: 50,
      fetch: (_input, init) =>
        new Promise((_, reject) => {
          init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error))
        }),
    })
    expect(await rejectionOf(silent.resolve(identity))).toBe('NK_UNREACHABLE')
    const abort = new AbortController()
    const waiting = silent.resolve(identity, 'network', abort.signal)
    abort.abort(new Error('stopped'))
    await expect(waiting).rejects.toThrow('stopped')
  })

  it('goes on after a conflict with what the other wrote', async () => {
    let disturbed = false
    const url = relays[0]?.url ?? ''
    const client = new RelayClient({
      relays: [url],
      timeoutMs: 240_000,
      fetch: async (input, init) => {
        if (init?.method === 'PUT' && !disturbed) {
          disturbed = true
          await new RelayClient({ relays: [url], timeoutMs: 240_000 }).update(identity, signer, (records) => [
            ...records,
            txt('other', '1'),
          ])
        }
        return fetch(input, init)
      },
    })
    const packet = await client.update(identity, signer, (records) => [...records, txt('ours', '1')])
    expect(packet.records.map(({ name }) => name)).toEqual(expect.arrayContaining(['other', 'ours']))
  })

  it('serves from its cache while that is fresh', async () => {
    let nowMs = Date.now()
    let asked = 0
    const client = make({
      clock: () => nowMs,
      fetch: (input: string, init?: RequestInit) => {
        asked += 1
        return fetch(input, init)
      },
    })
    for (const step of [0, 1000, 299_000 - 1000]) {
      nowMs += step
      await client.resolve(identity)
    }
    expect(asked).toBe(2)
    nowMs += 1000
    await client.resolve(identity)
    expect(asked).toBe(4)
    expect(transportIdentity(identity.publicKey).name).toBe(identity.name)
  })
})
