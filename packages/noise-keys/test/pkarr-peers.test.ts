import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client as DhtClient } from 'bittorrent-dht'
import { Client, Keypair, Pkdns, Pubky, PublicKey } from '@synonymdev/pubky'
import { describe, expect, it, vi } from 'vitest'
import { sha256, utf8Encode, Writer, z32Encode } from '@keyturn/primitives'
import { createTransportIdentity, parseIdentityName } from '../src/index.ts'
import {
  createRelayHandler,
  encodeDnsPacket,
  memoryPacketStore,
  relayPayload,
  signPacket,
  txtRecord,
  verifyPacket,
} from '../src/pkarr/index.ts'
import type { SignedPacket } from '../src/pkarr/index.ts'
import { dhtNetwork, dhtVerify } from '../src/dht/index.ts'
import type { DhtNode } from '../src/dht/index.ts'
import { rejectionOf } from './support.ts'

const seed = sha256(utf8Encode('peer test'))
const identity = createTransportIdentity(() => seed.slice())
const homeserver = createTransportIdentity(() => new Uint8Array(32).fill(3))
const now = (): bigint => BigInt(Date.now()) * 1000n
const homeserverRecord = {
  name: '_pubky',
  type: 65,
  ttlS: 3600,
  rdata: new Writer().u16be(1).u8(52).bytes(utf8Encode(homeserver.name)).u8(0).finish(),
}

describe('bittorrent-dht on this machine', () => {
  it(
    'stores a packet under its target and gives it back; older, forged and oversized ones are not taken',
    { timeout: 300_000 },
    async () => {
      const nodes = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const node = new DhtClient({ bootstrap: false, verify: dhtVerify, timeout: 8000 })
          await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve))
          return node
        }),
      )
      try {
        for (const node of nodes)
          for (const other of nodes) if (other !== node) node.addNode({ host: '127.0.0.1', port: other.address().port })
        // Each must have heard of all the others.
        await vi.waitFor(() => expect(nodes.map((node) => node.toJSON().nodes.length)).toEqual([3, 3, 3, 3]), {
          timeout: 240_000,
          interval: 20,
        })
        const [first, second] = nodes.map((node) => dhtNetwork(node as unknown as DhtNode)) as [
          ReturnType<typeof dhtNetwork>,
          ReturnType<typeof dhtNetwork>,
        ]
        const packet = signPacket(seed, now(), [txtRecord('_noise', 'v=1', 300)])
        expect(await first.put(packet)).toBeGreaterThanOrEqual(2)
        expect(relayPayload((await second.get(identity)) as SignedPacket)).toEqual(relayPayload(packet))
        expect(await second.get(homeserver)).toBeUndefined()

        const relay = createRelayHandler({ store: memoryPacketStore(), network: second })
        const call = (method: string, body?: Uint8Array): ReturnType<typeof relay> =>
          relay({ method, path: `/${identity.name}`, query: new URLSearchParams(), headers: {}, ...(body && { body }) })
        expect((await call('GET')).body).toEqual(relayPayload(packet))
        expect((await call('PUT', relayPayload(signPacket(seed, packet.timestampUs - 1n, [])))).status).toBe(409)
        const newer = signPacket(seed, now() + 5n, [txtRecord('_noise', 'v=2', 300)])
        expect((await call('PUT', relayPayload(newer))).status).toBe(204)
        expect(relayPayload((await first.get(identity)) as SignedPacket)).toEqual(relayPayload(newer))
        const big = signPacket(seed, now() + 9n, [txtRecord('x', 'x'.repeat(910), 300)])
        if (big.dnsPacket.length >= 1000) expect(await rejectionOf(first.put(big))).toBe('NK_DNS_SIZE')
        await first.put({ ...newer, timestampUs: newer.timestampUs + 10n }).catch(() => {})
        expect((await second.get(identity))?.timestampUs).toBe(newer.timestampUs)
      } finally {
        await Promise.all(nodes.map((node) => new Promise<void>((resolve) => node.destroy(resolve))))
      }
    },
  )
})

describe('@synonymdev/pubky, the Rust implementation', () => {
  it('accepts and refuses as we do, in both directions, over our relay', { timeout: 600_000 }, async () => {
    const store = memoryPacketStore()
    const relay = createRelayHandler({ store })
    // A relay that serves anything, so that the client itself has to refuse.
    let forced: Uint8Array | undefined
    const server = createServer((incoming, outgoing) => {
      void (async () => {
        const chunks: Buffer[] = []
        for await (const chunk of incoming) chunks.push(chunk as Buffer)
        const url = new URL(incoming.url ?? '/', 'http://relay')
        const answer =
          forced !== undefined && incoming.method === 'GET'
            ? {
                status: 200,
                headers: { 'content-type': 'application/pkarr.org/relays#payload', 'access-control-allow-origin': '*' },
                body: forced,
              }
            : await relay({
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
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const facade = (): Pubky =>
      Pubky.withClient(new Client({ pkarr: { relays: [url], request_timeout: 60_000 } } as never))
    try {
      // Theirs, signed in Rust, read by us.
      const keypair = Keypair.fromSecret(new Uint8Array(32).fill(9))
      await facade().signer(keypair).pkdns.publishHomeserverForce(PublicKey.from(homeserver.name))
      const theirs = parseIdentityName(keypair.publicKey.z32())
      const packet = verifyPacket(theirs.publicKey, (await store.get(theirs.name))?.payload ?? new Uint8Array())
      expect(packet.records.map(({ name }) => name)).toEqual(['_pubky'])

      // Ours, checked by them. A fresh client each time, since it caches.
      const verdictOn = async (payload: Uint8Array): Promise<string> => {
        forced = payload
        const found = await facade()
          .getHomeserverOf(PublicKey.from(identity.name))
          .catch(() => undefined)
        return found === undefined ? 'refused' : found.z32()
      }
      const noise = (count: number): ReturnType<typeof txtRecord>[] =>
        Array.from({ length: count }, (_, index) => txtRecord(`_noise.device-v${index}`, 'x'.repeat(157), 300))
      for (const count of [0, 1, 3, 4]) {
        expect(await verdictOn(relayPayload(signPacket(seed, now(), [homeserverRecord, ...noise(count)])))).toBe(
          homeserver.name,
        )
      }
      // Padded to the byte that still fits.
      const padded = (length: number): ReturnType<typeof txtRecord>[] => [
        homeserverRecord,
        txtRecord('p', 'x'.repeat(length), 300),
      ]
      const exact =
        Array.from({ length: 1000 }, (_, length) => length).find(
          (length) => encodeDnsPacket(identity.name, padded(length)).length === 1000,
        ) ?? 0
      expect(await verdictOn(relayPayload(signPacket(seed, now(), padded(exact))))).toBe(homeserver.name)
      expect(() => signPacket(seed, now(), padded(exact + 1))).toThrow(expect.objectContaining({ code: 'NK_DNS_SIZE' }))
      const good = relayPayload(signPacket(seed, now(), [homeserverRecord]))
      const cases = [
        good.map((byte, at) => (at === good.length - 20 ? byte ^ 1 : byte)),
        good.map((byte, at) => (at === 71 ? byte ^ 1 : byte)),
        good.map((byte, at) => (at === 3 ? byte ^ 1 : byte)),
        good.subarray(0, 60),
      ]
      for (const bad of cases) {
        expect(await verdictOn(bad)).toBe('refused')
        expect(() => verifyPacket(identity.publicKey, bad)).toThrow()
      }
    } finally {
      server.close()
    }
    expect(z32Encode(identity.publicKey)).toBe(identity.name)
    expect(Pkdns).toBeDefined()
  })
})
