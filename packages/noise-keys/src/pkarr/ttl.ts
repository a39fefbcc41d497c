import type { SignedPacket } from './signed-packet.ts'

const MIN_TTL_S = 300
const MAX_TTL_S = 86_400

/** How long a packet stays fresh after it was last seen: its smallest TTL, within 5 minutes and a day. */
export function packetTtlS(packet: SignedPacket): number {
  const smallest = packet.records.reduce((least, { ttlS }) => Math.min(least, ttlS), MAX_TTL_S)
  return packet.records.length === 0 ? MIN_TTL_S : Math.max(MIN_TTL_S, smallest)
}
