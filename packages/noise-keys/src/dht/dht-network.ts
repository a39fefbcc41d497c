import { concatBytes, ed25519Verify } from '@keyturn/primitives'
import { sha1 } from '@noble/hashes/legacy.js'
import { NoiseKeysError } from '../errors.ts'
import type { TransportIdentity } from '../identity.ts'
import type { PacketNetwork } from '../pkarr/relay-handler.ts'
import { verifyPacket } from '../pkarr/signed-packet.ts'
import type { SignedPacket } from '../pkarr/signed-packet.ts'

/** A mutable value of BEP 44, as `bittorrent-dht` gives it. */
export interface DhtValue {
  readonly k?: Uint8Array
  readonly sig?: Uint8Array
  readonly seq?: number
  readonly v?: Uint8Array
}

/** The part of a `bittorrent-dht` client that is used. */
export interface DhtNode {
  get(
    target: Uint8Array,
    options: { cache: boolean },
    done: (error: Error | null, value: DhtValue | null) => void,
  ): void
  put(
    value: { k: Uint8Array; v: Uint8Array; seq: number; sig: Uint8Array },
    done: (error: Error | null, target: unknown, nodes?: number) => void,
  ): void
}

/** Longest DNS packet `bittorrent-dht` puts: it wants fewer than the 1000 bytes of BEP 44. */
export const MAX_DHT_VALUE_BYTES = 999

/** Where the DHT keeps the packet of an identity: SHA-1 of its key. */
export function dhtTarget(publicKey: Uint8Array): Uint8Array {
  return sha1(publicKey)
}

/**
 * The `verify` option of a `bittorrent-dht` client: the one Ed25519 rule of this project.
 *
 * @example `const node = new Client({ verify: dhtVerify })`
 */
export function dhtVerify(signature: Uint8Array, bytes: Uint8Array, publicKey: Uint8Array): boolean {
  return ed25519Verify(Uint8Array.from(publicKey), Uint8Array.from(bytes), Uint8Array.from(signature))
}

/** The DHT as a relay's network: give it a client of `bittorrent-dht` that is ready. */
export function dhtNetwork(node: DhtNode): PacketNetwork {
  return {
    async get(identity: TransportIdentity): Promise<SignedPacket | undefined> {
      const target = Buffer.from(dhtTarget(identity.publicKey))
      const value = await new Promise<DhtValue | null>((resolve, reject) => {
        node.get(target, { cache: false }, (error, found) =>
          error === null || error === undefined ? resolve(found) : reject(unreachable(error)),
        )
      })
      return value?.sig === undefined || value.v === undefined || value.seq === undefined
        ? undefined
        : toPacket(identity, value)
    },
    async put(packet: SignedPacket): Promise<number> {
      if (packet.dnsPacket.length > MAX_DHT_VALUE_BYTES || packet.timestampUs > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw new NoiseKeysError(
          'NK_DNS_SIZE',
          `The DHT takes at most ${MAX_DHT_VALUE_BYTES} bytes and dates before the year 2255`,
        )
      }
      const value = {
        k: Buffer.from(packet.publicKey),
        v: Buffer.from(packet.dnsPacket),
        seq: Number(packet.timestampUs),
        sig: Buffer.from(packet.signature),
      }
      return new Promise((resolve, reject) => {
        node.put(value, (error, _target, nodes) =>
          error === null || error === undefined ? resolve(nodes ?? 0) : reject(unreachable(error)),
        )
      })
    },
  }
}

function toPacket(identity: TransportIdentity, value: DhtValue): SignedPacket {
  const timestamp = new Uint8Array(8)
  new DataView(timestamp.buffer).setBigUint64(0, BigInt(value.seq ?? 0))
  return verifyPacket(
    identity.publicKey,
    concatBytes(value.sig ?? new Uint8Array(0), timestamp, value.v ?? new Uint8Array(0)),
  )
}

function unreachable(cause: Error): NoiseKeysError {
  return new NoiseKeysError('NK_UNREACHABLE', 'The DHT does not answer', { cause })
}
