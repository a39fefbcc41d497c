import { base64Decode, ed25519Verify, sha256 } from '@keyturn/primitives'
import { keyBindingPreimage } from '../binding.ts'
import type { RecordPlace } from '../record-signature.ts'

/** What a deployed reader of generation G2 makes of a record. */
export type OldReaderVerdict =
  | 'ok'
  | 'error:missing-version'
  | 'error:version'
  | 'error:missing-key'
  | 'error:base64'
  | 'error:key-length'
  | 'error:missing-signature'
  | 'error:signature'
  | 'error:missing-timestamp'
  | 'error:timestamp'
  | 'error:stale'
  | 'error:future'

/** How old a record deployed readers take by default. */
export const OLD_READER_MAX_AGE_S = 2_592_000
const MAX_SKEW_S = 300

/**
 * Reads a record exactly as deployed readers do, faults included (last of repeated fields wins, `revoked` ignored):
 * shows what old peers will make of what we are about to publish.
 *
 * @param freshness - When given, as their reader with an age limit.
 */
export function readAsOldReader(
  text: string,
  place: RecordPlace,
  freshness?: { readonly nowS: number; readonly maxAgeS?: number },
): OldReaderVerdict {
  const fields = new Map(
    text
      .split(';')
      .filter((part) => part.includes('='))
      .map((part) => {
        const at = part.indexOf('=')
        return [part.slice(0, at), part.slice(at + 1)] as const
      }),
  )
  const version = fields.get('v')
  if (version === undefined) return 'error:missing-version'
  if (version !== '1') return 'error:version'
  const publicKey = decode(fields.get('k'))
  if (publicKey === undefined) return fields.has('k') ? 'error:base64' : 'error:missing-key'
  if (publicKey.length !== 32) return 'error:key-length'
  if (!fields.has('sig')) return 'error:missing-signature'
  const signature = decode(fields.get('sig'))
  if (signature === undefined) return 'error:base64'
  if (!ed25519Verify(place.identity, sha256(keyBindingPreimage({ ...place, publicKey })), signature))
    return 'error:signature'
  return freshness === undefined
    ? 'ok'
    : verdictOfAge(fields.get('ts'), freshness.nowS, freshness.maxAgeS ?? OLD_READER_MAX_AGE_S)
}

/** Their check of the timestamp, a Rust `u64` (one leading `+` and leading zeros pass). */
function verdictOfAge(text: string | undefined, nowS: number, maxAgeS: number): OldReaderVerdict {
  if (text === undefined) return 'error:missing-timestamp'
  if (!/^\+?[0-9]+$/.test(text) || BigInt(text.replace('+', '')) >= 1n << 64n) return 'error:timestamp'
  const ageS = nowS - Number(text)
  if (ageS > maxAgeS) return 'error:stale'
  return ageS < -MAX_SKEW_S ? 'error:future' : 'ok'
}

function decode(text: string | undefined): Uint8Array | undefined {
  try {
    return text === undefined ? undefined : base64Decode(text)
  } catch {
    return undefined
  }
}
