export { decodeDnsPacket, encodeDnsPacket, MAX_DNS_PACKET_BYTES, TXT, txtRecord, txtValue } from './dns.ts'
export { RelayClient } from './relay-client.ts'
export { createRelayHandler, memoryPacketStore, RELAY_MEDIA_TYPE } from './relay-handler.ts'
export {
  isMoreRecent,
  MAX_RELAY_PAYLOAD_BYTES,
  nextTimestampUs,
  packetSigningBytes,
  RELAY_PAYLOAD_HEAD_BYTES,
  relayPayload,
  signPacket,
  signPacketWith,
  verifyPacket,
} from './signed-packet.ts'
export { packetTtlS } from './ttl.ts'

export type { DnsRecord } from './dns.ts'
export type { Fetch, RelayClientOptions, ResolvePolicy } from './relay-client.ts'
export type {
  PacketNetwork,
  PacketStore,
  RelayHandlerOptions,
  RelayRequest,
  RelayResponse,
  StoredPacket,
} from './relay-handler.ts'
export type { PacketSigner, SignedPacket } from './signed-packet.ts'
