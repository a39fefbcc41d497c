import { collectBytes, systemClock } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import type { TransportIdentity } from '../identity.ts'
import type { DnsRecord } from './dns.ts'
import {
  isMoreRecent,
  MAX_RELAY_PAYLOAD_BYTES,
  nextTimestampUs,
  relayPayload,
  signPacketWith,
  verifyPacket,
} from './signed-packet.ts'
import type { PacketSigner, SignedPacket } from './signed-packet.ts'
import { packetTtlS } from './ttl.ts'

/** The part of `fetch` that is used. */
export type Fetch = (input: string, init?: RequestInit) => Promise<Response>
/** Whether a cached packet will do: `network` asks every relay for what the DHT has now. */
export type ResolvePolicy = 'cache' | 'network'

/** How {@link RelayClient} works. */
export interface RelayClientOptions {
  /** Addresses of relays, in any order; all are asked. */
  readonly relays: readonly string[]
  readonly fetch?: Fetch | undefined
  readonly clock?: Clock | undefined
  /** Time for one answer; 10 s by default. */
  readonly timeoutMs?: number | undefined
  /** Packets kept; 1000 by default, the least recently used goes. */
  readonly maxCached?: number | undefined
}

interface CachedPacket {
  readonly packet: SignedPacket
  readonly seenMs: number
}

const CONFLICTS = [409, 412, 428]
const MAX_PUBLISH_ATTEMPTS = 4
const NO_CACHE = { 'cache-control': 'no-cache, no-store, must-revalidate' }

/** Reads and publishes packets through relays, docs/spec/noise-keys.md §6. */
export class RelayClient {
  readonly #options: RelayClientOptions
  readonly #fetch: Fetch
  readonly #clock: Clock
  readonly #cache = new Map<string, CachedPacket>()

  constructor(options: RelayClientOptions) {
    this.#options = options
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init))
    this.#clock = options.clock ?? systemClock
  }

  /**
   * Finds the most recent packet of an identity.
   *
   * @param policy - `network` before a key is trusted for the first time, and on any doubt: caches serve packets for up
   *   to a day.
   * @returns `undefined` when every relay that answered has none.
   * @throws {@link NoiseKeysError} `NK_UNREACHABLE`; `NK_ROLLBACK` when every relay answers with less than was seen.
   */
  async resolve(
    identity: TransportIdentity,
    policy: ResolvePolicy = 'cache',
    signal?: AbortSignal,
  ): Promise<SignedPacket | undefined> {
    const cached = this.#cache.get(identity.name)
    if (policy === 'cache' && cached !== undefined && cached.seenMs + packetTtlS(cached.packet) * 1000 > this.#clock())
      return cached.packet
    const answers = await Promise.allSettled(
      this.#options.relays.map((relay) => this.#ask(relay, identity, policy, signal)),
    )
    signal?.throwIfAborted()
    const found = answers.flatMap((answer) =>
      answer.status === 'fulfilled' && answer.value !== undefined ? [answer.value] : [],
    )
    if (answers.every(({ status }) => status === 'rejected')) throw unreachable(answers)
    const best = found.reduce<SignedPacket | undefined>(
      (most, packet) => (most === undefined || isMoreRecent(packet, most) ? packet : most),
      undefined,
    )
    if (cached !== undefined && (best === undefined || isMoreRecent(cached.packet, best))) {
      throw new NoiseKeysError('NK_ROLLBACK', 'Every relay answers with less than was seen before', {
        details: { identity: identity.name },
      })
    }
    if (best !== undefined) this.#remember(identity.name, best)
    return best
  }

  /**
   * Publishes a packet at every relay.
   *
   * @returns How many relays took it.
   * @throws {@link NoiseKeysError} `NK_CONFLICT` (one has a more recent packet), `NK_UNREACHABLE`, `NK_RELAY`.
   */
  async publish(packet: SignedPacket, name: string, signal?: AbortSignal): Promise<number> {
    return await this.#publish(packet, name, {}, signal)
  }

  async #publish(
    packet: SignedPacket,
    name: string,
    condition: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<number> {
    const answers = await Promise.allSettled(
      this.#options.relays.map((relay) => this.#put(relay, name, packet, { condition, signal })),
    )
    signal?.throwIfAborted()
    const refused = answers.flatMap((answer) =>
      answer.status === 'rejected' && answer.reason instanceof NoiseKeysError ? [answer.reason] : [],
    )
    const conflict = refused.find(({ code }) => code === 'NK_CONFLICT')
    if (conflict !== undefined) throw conflict
    const taken = answers.length - answers.filter(({ status }) => status === 'rejected').length
    if (taken === 0) throw refused.find(({ code }) => code === 'NK_RELAY') ?? unreachable(answers)
    this.#remember(name, packet)
    return taken
  }

  /**
   * Changes the packet of an identity: read, merge, sign, publish on the condition that nothing else was published
   * meanwhile, read back. Relays that honor the condition (`createRelayHandler` does) lose nothing; others may, and
   * then the one that was overwritten is not told.
   *
   * @param merge - Makes the new records from those that are there. Called again after a conflict.
   * @throws {@link NoiseKeysError} `NK_CONFLICT` when it goes on, `NK_UNREACHABLE`, `NK_RELAY`, `NK_DNS_SIZE`.
   */
  async update(
    identity: TransportIdentity,
    signer: PacketSigner,
    merge: (records: readonly DnsRecord[]) => readonly DnsRecord[],
    signal?: AbortSignal,
  ): Promise<SignedPacket> {
    for (let attempt = 1; ; attempt += 1) {
      const current = await this.resolve(identity, 'network', signal)
      const records = merge(current?.records ?? [])
      const packet = await signPacketWith(identity.publicKey, signer, nextTimestampUs(this.#clock(), current), records)
      try {
        await this.#publish(packet, identity.name, conditionFor(current), signal)
        await this.#readBack(identity, packet, signal)
        return packet
      } catch (error) {
        const again = error instanceof NoiseKeysError && error.code === 'NK_CONFLICT' && attempt < MAX_PUBLISH_ATTEMPTS
        if (!again) throw error
      }
    }
  }

  async #readBack(identity: TransportIdentity, packet: SignedPacket, signal?: AbortSignal): Promise<void> {
    const seen = await this.resolve(identity, 'network', signal)
    if (seen === undefined || isMoreRecent(packet, seen)) {
      throw new NoiseKeysError('NK_RELAY', 'The relays took a packet and do not give it back', {
        details: { identity: identity.name },
      })
    }
    if (isMoreRecent(seen, packet)) throw new NoiseKeysError('NK_CONFLICT', 'Somebody else published at the same time')
  }

  async #ask(
    relay: string,
    identity: TransportIdentity,
    policy: ResolvePolicy,
    signal?: AbortSignal,
  ): Promise<SignedPacket | undefined> {
    const url = `${addressOf(relay, identity.name)}${policy === 'network' ? '?policy=NetworkOnly' : ''}`
    let response = await this.#call(url, { headers: policy === 'network' ? NO_CACHE : {} }, signal)
    // A cache on the way may answer so although nothing was asked conditionally.
    if (response.status === 304) response = await this.#call(url, { headers: NO_CACHE }, signal)
    if (response.status === 404) return undefined
    if (response.status !== 200) throw badAnswer(response.status)
    return verifyPacket(identity.publicKey, await readBounded(response))
  }

  async #put(
    relay: string,
    name: string,
    packet: SignedPacket,
    {
      condition,
      signal,
    }: { readonly condition: Readonly<Record<string, string>>; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    const headers = { 'content-type': 'application/octet-stream', ...condition }
    const body = Uint8Array.from(relayPayload(packet))
    const { status } = await this.#call(addressOf(relay, name), { method: 'PUT', body, headers }, signal)
    if (CONFLICTS.includes(status)) throw new NoiseKeysError('NK_CONFLICT', 'A relay has a more recent packet')
    if (status < 200 || status > 299) throw badAnswer(status)
  }

  async #call(url: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
    const timeout = AbortSignal.timeout(this.#options.timeoutMs ?? 10_000)
    try {
      return await this.#fetch(url, {
        ...init,
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        redirect: 'error',
      })
    } catch (cause) {
      throw new NoiseKeysError('NK_UNREACHABLE', 'A relay does not answer', { cause })
    }
  }

  #remember(name: string, packet: SignedPacket): void {
    const cached = this.#cache.get(name)
    this.#cache.delete(name)
    this.#cache.set(name, {
      packet: cached !== undefined && isMoreRecent(cached.packet, packet) ? cached.packet : packet,
      seenMs: this.#clock(),
    })
    if (this.#cache.size > (this.#options.maxCached ?? 1000))
      this.#cache.delete(this.#cache.keys().next().value as string)
  }
}

/**
 * Tells a relay which packet the new one was made from. Relays of the public network ignore it; ours refuses another
 * base.
 */
function conditionFor(base: SignedPacket | undefined): Readonly<Record<string, string>> {
  return base === undefined ? { 'if-none-match': '*' } : { 'if-match': String(base.timestampUs) }
}

function addressOf(relay: string, name: string): string {
  return `${relay.replace(/\/+$/, '')}/${name}`
}

/** Reads at most one packet: an endless answer is cut off. */
function readBounded(response: Response): Promise<Uint8Array> {
  return collectBytes(
    response.body,
    MAX_RELAY_PAYLOAD_BYTES,
    () => new NoiseKeysError('NK_RELAY', 'A relay answers with more bytes than a packet has'),
  )
}

function badAnswer(status: number): NoiseKeysError {
  const code = status === 429 || status >= 500 ? 'NK_UNREACHABLE' : 'NK_RELAY'
  return new NoiseKeysError(code, `A relay answered with status ${status}`, { details: { status } })
}

function unreachable(answers: readonly PromiseSettledResult<unknown>[]): NoiseKeysError {
  const causes = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []))
  return new NoiseKeysError('NK_UNREACHABLE', `None of ${answers.length} relays gave a usable answer`, {
    cause: causes[0],
  })
}
