import { base64Decode, hexEncode } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import type { TransportMetadata } from '@keyturn/noise-keys/owner'
import { formatTable } from '../../output.ts'
import { dateText } from './dates.ts'

/** Keys for programs; public halves only. */
export function keysData(metadata: TransportMetadata): { [key: string]: JsonValue }[] {
  return metadata.keys.map((key) => ({
    device: key.device,
    state: key.state,
    public_key: hexEncode(base64Decode(key.publicKey)),
    generation: key.generation,
    context: key.context ?? key.device,
    sequence: key.sequence,
    created_at: key.createdAtS,
    active_from: key.activeFromS ?? null,
    retiring_until: key.retiringUntilS ?? null,
    reason: key.reason ?? null,
  }))
}

/** Keys for people. */
export function keysText(metadata: TransportMetadata): string {
  return formatTable(
    metadata.keys.map((key) => [
      key.device,
      key.state,
      hexEncode(base64Decode(key.publicKey)).slice(0, 16),
      key.state === 'retiring'
        ? `answers until ${dateText(key.retiringUntilS)}`
        : key.state === 'next'
          ? `from ${dateText(key.activeFromS)}`
          : key.state === 'active'
            ? `since ${dateText(key.activeFromS)}`
            : (key.reason ?? ''),
    ]),
  )
}
