import {
  compareBytes,
  concatBytes,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  Reader,
  utf8Encode,
  Writer,
  z32Encode,
} from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { transportIdentity } from '../identity.ts'
import { decodeDnsPacket, encodeDnsPacket, MAX_DNS_PACKET_BYTES } from './dns.ts'
import type { DnsRecord } from './dns.ts'

/** Bytes of a relay payload without its DNS packet. */
export const RELAY_PAYLOAD_HEAD_BYTES = 72
/** Longest relay payload. */
export const MAX_RELAY_PAYLOAD_BYTES = RELAY_PAYLOAD_HEAD_BYTES + MAX_DNS_PACKET_BYTES

/** All records of one identity at one moment, signed. */
export interface SignedPacket {
  /** Ed25519 public key of the identity. */
  readonly publicKey: Uint8Array
  readonly signature: Uint8Array
  /** Microseconds since 1970; also the sequence number in the DHT. */
  readonly timestampUs: bigint
  readonly dnsPacket: Uint8Array
  readonly records: readonly DnsRecord[]
}

/** Signs the bytes it is given with the identity's key; the key itself may be elsewhere. */
export type PacketSigner = (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>

/** The bytes under a packet's signature: BEP 44's pair of sequence number and value, without salt. */
export function packetSigningBytes(timestampUs: bigint, dnsPacket: Uint8Array): Uint8Array {
  return concatBytes(utf8Encode(`3:seqi${timestampUs}e1:v${dnsPacket.length}:`), dnsPacket)
}

/**
 * Signs records with a signer that holds the key.
 *
 * @throws {@link NoiseKeysError} `NK_DNS_SIZE`, `NK_RECORD`, `NK_BINDING_SIGNATURE` (the signer holds another key).
 */
export async function signPacketWith(
  publicKey: Uint8Array,
  signer: PacketSigner,
  timestampUs: bigint,
  records: readonly DnsRecord[],
): Promise<SignedPacket> {
  const dnsPacket = encodeDnsPacket(z32Encode(publicKey), records)
  const signature = await signer(packetSigningBytes(timestampUs, dnsPacket))
  return verifyPacket(publicKey, relayPayloadOf(signature, timestampUs, dnsPacket))
}

/** Signs records with the seed of the identity; neither kept nor modified. */
export function signPacket(seed: Uint8Array, timestampUs: bigint, records: readonly DnsRecord[]): SignedPacket {
  const publicKey = ed25519PublicKey(seed)
  const dnsPacket = encodeDnsPacket(z32Encode(publicKey), records)
  const signature = ed25519Sign(seed, packetSigningBytes(timestampUs, dnsPacket))
  return { publicKey, signature, timestampUs, dnsPacket, records: decodeDnsPacket(z32Encode(publicKey), dnsPacket) }
}

/** What a relay takes and gives: the packet without the public key, which is in the address. */
export function relayPayload(packet: SignedPacket): Uint8Array {
  return relayPayloadOf(packet.signature, packet.timestampUs, packet.dnsPacket)
}

/**
 * Checks a relay payload, in this order: length, key, signature, DNS.
 *
 * @throws {@link NoiseKeysError} `NK_RECORD` (too short), `NK_DNS_SIZE`, `NK_IDENTITY`, `NK_BINDING_SIGNATURE`.
 */
export function verifyPacket(publicKey: Uint8Array, payload: Uint8Array): SignedPacket {
  if (payload.length > MAX_RELAY_PAYLOAD_BYTES) {
    throw new NoiseKeysError(
      'NK_DNS_SIZE',
      `The packet has ${payload.length} bytes, at most ${MAX_RELAY_PAYLOAD_BYTES} are allowed`,
    )
  }
  const { name } = transportIdentity(publicKey)
  const reader = new Reader(
    payload,
    () => new NoiseKeysError('NK_RECORD', `The packet has only ${payload.length} bytes`),
  )
  const signature = reader.bytes(64, 'signature').slice()
  const timestampUs = reader.u64be('timestamp')
  const dnsPacket = reader.rest('DNS packet').slice()
  if (!ed25519Verify(publicKey, packetSigningBytes(timestampUs, dnsPacket), signature)) {
    throw new NoiseKeysError('NK_BINDING_SIGNATURE', 'The packet was not signed like this by this identity')
  }
  return { publicKey: publicKey.slice(), signature, timestampUs, dnsPacket, records: decodeDnsPacket(name, dnsPacket) }
}

/** Whether `candidate` replaces `current`: the later one does; of one moment the greater DNS packet. */
export function isMoreRecent(candidate: SignedPacket, current: SignedPacket): boolean {
  if (candidate.timestampUs !== current.timestampUs) return candidate.timestampUs > current.timestampUs
  return compareBytes(candidate.dnsPacket, current.dnsPacket) > 0
}

/** A timestamp for a packet that replaces `current`: now, and above it even where its clock was ahead. */
export function nextTimestampUs(nowMs: number, current?: SignedPacket): bigint {
  const nowUs = BigInt(Math.floor(nowMs)) * 1000n
  return current !== undefined && current.timestampUs >= nowUs ? current.timestampUs + 1n : nowUs
}

function relayPayloadOf(signature: Uint8Array, timestampUs: bigint, dnsPacket: Uint8Array): Uint8Array {
  return new Writer(RELAY_PAYLOAD_HEAD_BYTES + dnsPacket.length)
    .bytes(signature)
    .u64be(timestampUs)
    .bytes(dnsPacket)
    .finish()
}
