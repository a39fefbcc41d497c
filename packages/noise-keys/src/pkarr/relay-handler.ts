import { equalBytes, systemClock } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { parseIdentityName } from '../identity.ts'
import type { TransportIdentity } from '../identity.ts'
import { isMoreRecent, MAX_RELAY_PAYLOAD_BYTES, relayPayload, verifyPacket } from './signed-packet.ts'
import type { SignedPacket } from './signed-packet.ts'
import { packetTtlS } from './ttl.ts'

/** Media type of a relay payload. */
export const RELAY_MEDIA_TYPE = 'application/pkarr.org/relays#payload'

/** A packet a relay keeps. */
export interface StoredPacket {
  /** Relay payload: signature, timestamp, DNS packet. */
  readonly payload: Uint8Array
  /** When the network was last known to have it. */
  readonly lastSeenMs: number
}

/** Where a relay keeps its packets. */
export interface PacketStore {
  get(name: string): Promise<StoredPacket | undefined>
  /**
   * Puts a packet in the place of the one that was read, atomically.
   *
   * @param previous - What `get` gave.
   * @returns False when it is no longer that one.
   */
  replace(name: string, previous: StoredPacket | undefined, next: StoredPacket): Promise<boolean>
}

/** The DHT behind a relay, where it has one. */
export interface PacketNetwork {
  get(identity: TransportIdentity): Promise<SignedPacket | undefined>
  /** @returns How many nodes took it. */
  put(packet: SignedPacket): Promise<number>
}

/** An HTTP request, without the framework around it. */
export interface RelayRequest {
  readonly method: string
  /** Path below the place the relay is mounted at: `/` and the name. */
  readonly path: string
  readonly query: URLSearchParams
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Whole body; the caller stops reading at {@link MAX_RELAY_PAYLOAD_BYTES} + 1 bytes. */
  readonly body?: Uint8Array | undefined
}

/** Its answer. */
export interface RelayResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** Code of the error behind a 4xx or 5xx, for a problem document. */
  readonly code?: string
}

/** How a relay works. */
export interface RelayHandlerOptions {
  readonly store: PacketStore
  /** Without one the relay is its own network. */
  readonly network?: PacketNetwork | undefined
  readonly clock?: Clock | undefined
  /** Whether an identity may publish here; all by default. */
  readonly allow?: ((identity: TransportIdentity) => boolean | Promise<boolean>) | undefined
}

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, PUT, OPTIONS',
  'access-control-allow-headers': '*',
}
const POLICIES = ['CacheOnly', 'CacheFirst', 'NetworkOnly']
const MAX_ATTEMPTS = 8

/**
 * A pkarr relay as a plain function from request to answer, docs/spec/noise-keys.md §6. Rate limits are the mounting
 * server's.
 */
export function createRelayHandler(options: RelayHandlerOptions): (request: RelayRequest) => Promise<RelayResponse> {
  return async (request) => {
    try {
      if (request.method === 'OPTIONS') return { status: 204, headers: CORS }
      const identity = parseIdentityName(request.path.replace(/^\//, ''))
      if (request.method === 'PUT') return await put(options, identity, request)
      if (request.method === 'GET' || request.method === 'HEAD') return await get(options, identity, request)
      return { status: 405, headers: { ...CORS, allow: 'GET, PUT, OPTIONS' }, code: 'NK_RELAY' }
    } catch (error) {
      if (!(error instanceof NoiseKeysError)) throw error
      return refusal(error.code === 'NK_DNS_SIZE' ? 413 : error.kind === 'unavailable' ? 503 : 400, error.code)
    }
  }
}

async function put(
  options: RelayHandlerOptions,
  identity: TransportIdentity,
  request: RelayRequest,
): Promise<RelayResponse> {
  const body = request.body ?? new Uint8Array(0)
  if (body.length > MAX_RELAY_PAYLOAD_BYTES) return refusal(413, 'NK_DNS_SIZE')
  const packet = verifyPacket(identity.publicKey, body)
  if ((await options.allow?.(identity)) === false) return refusal(403, 'NK_IDENTITY')
  const inNetwork = await options.network?.get(identity)
  if (inNetwork !== undefined && isMoreRecent(inNetwork, packet)) return refusal(409, 'NK_CONFLICT')
  const kept = await keep(options, identity, packet, conditionOf(request))
  if (kept !== 'kept') return refusal(kept === 'older' ? 409 : 412, 'NK_CONFLICT')
  const nodes = options.network === undefined ? 1 : await options.network.put(packet)
  return { status: 204, headers: { ...CORS, 'pkarr-dht-stored-nodes': String(nodes) } }
}

async function get(
  options: RelayHandlerOptions,
  identity: TransportIdentity,
  request: RelayRequest,
): Promise<RelayResponse> {
  const policy = request.query.get('policy') ?? 'CacheFirst'
  if (!POLICIES.includes(policy)) return refusal(400, 'NK_RELAY')
  const nowMs = (options.clock ?? systemClock)()
  let stored = await options.store.get(identity.name)
  let packet = stored && verifyPacket(identity.publicKey, stored.payload)
  const isFresh = stored !== undefined && packet !== undefined && stored.lastSeenMs + packetTtlS(packet) * 1000 > nowMs
  if (options.network !== undefined && policy !== 'CacheOnly' && (policy === 'NetworkOnly' || !isFresh)) {
    const found = await options.network.get(identity)
    if (found !== undefined) await keep(options, identity, found)
    // NetworkOnly tells what the network has, even when that is older; CacheFirst never goes back.
    if (found !== undefined && (policy === 'NetworkOnly' || packet === undefined || !isMoreRecent(packet, found))) {
      packet = found
      stored = { payload: relayPayload(found), lastSeenMs: nowMs }
    } else if (policy === 'NetworkOnly') packet = undefined
  }
  if (packet === undefined || stored === undefined) return refusal(404, 'NK_NOT_FOUND')
  return isUnchanged(request, packet)
    ? { status: 304, headers: cacheHeaders(packet, stored) }
    : {
        status: 200,
        headers: { ...cacheHeaders(packet, stored), 'content-type': RELAY_MEDIA_TYPE },
        body: relayPayload(packet),
      }
}

/** What a publisher says was there when it read: a timestamp in microseconds, `none`, or nothing. */
type Condition = bigint | 'none' | undefined

/** `If-Match: <timestamp in microseconds>` and `If-None-Match: *` (RFC 9110 §13.1). */
function conditionOf({ headers }: RelayRequest): Condition {
  const match = headers['if-match']?.replaceAll('"', '').trim()
  if (match !== undefined && /^\d{1,20}$/.test(match)) return BigInt(match)
  // A condition that cannot be read is not met: passing it over would lose what it was there to protect.
  if (match !== undefined && match !== '*') return -1n
  return headers['if-none-match']?.trim() === '*' ? 'none' : undefined
}

function isMet(condition: Condition, current: SignedPacket | undefined): boolean {
  if (condition === undefined || current === undefined) return true
  // A relay that missed the base may take what follows it: nothing of the publisher's is lost.
  return condition !== 'none' && current.timestampUs <= condition
}

/**
 * Keeps a packet unless a more recent one is there, or another one than its publisher read; one that is there already
 * counts as kept.
 */
async function keep(
  options: RelayHandlerOptions,
  identity: TransportIdentity,
  packet: SignedPacket,
  condition?: Condition,
): Promise<'kept' | 'older' | 'changed'> {
  const nowMs = (options.clock ?? systemClock)()
  const payload = relayPayload(packet)
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const previous = await options.store.get(identity.name)
    const current = previous && verifyPacket(identity.publicKey, previous.payload)
    if (current !== undefined && isMoreRecent(current, packet)) return condition === undefined ? 'older' : 'changed'
    const isThere = previous !== undefined && equalBytes(previous.payload, payload)
    if (!isThere && !isMet(condition, current)) return 'changed'
    if (await options.store.replace(identity.name, previous, { payload, lastSeenMs: nowMs })) return 'kept'
  }
  return 'older'
}

/** Dates have seconds, timestamps microseconds: compared in full, a packet of the same second is not "unchanged". */
function isUnchanged(request: RelayRequest, packet: SignedPacket): boolean {
  const sinceMs = Date.parse(request.headers['if-modified-since'] ?? '')
  return Number.isFinite(sinceMs) && BigInt(sinceMs) * 1000n >= packet.timestampUs
}

function cacheHeaders(packet: SignedPacket, stored: StoredPacket): Record<string, string> {
  // A date header cannot say more than the year 9999; the packet itself does.
  const modifiedMs = Math.min(Number(packet.timestampUs / 1000n), 253_402_300_799_000)
  return {
    ...CORS,
    'cache-control': `public, max-age=${packetTtlS(packet)}`,
    'last-modified': new Date(modifiedMs).toUTCString(),
    'memento-datetime': new Date(stored.lastSeenMs).toUTCString(),
  }
}

function refusal(status: number, code: string): RelayResponse {
  return { status, headers: CORS, code }
}

/** Packets in memory, for tests and for relays that start empty. */
export function memoryPacketStore(): PacketStore {
  const packets = new Map<string, StoredPacket>()
  return {
    get: (name) => Promise.resolve(packets.get(name)),
    replace(name, previous, next) {
      const unchanged = packets.get(name) === previous
      if (unchanged) packets.set(name, next)
      return Promise.resolve(unchanged)
    },
  }
}
