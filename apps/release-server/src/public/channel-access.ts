import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { hexDecode, sha256, utf8Encode } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import { object, text } from '../storage/shape.ts'

/** The header that carries the access code of a channel. */
export const ACCESS_HEADER = 'keyturn-access'

/** What is stored about the access code of a channel: never the code itself. */
export interface StoredAccess {
  readonly code_sha256: string
  readonly set_at: string
}

/** Access codes by `<product>/<channel>`. */
export const channelAccess = collection('channel-access', object<StoredAccess>({ code_sha256: text, set_at: text }))

/** Counts wrong access codes by address. */
export interface AccessRates {
  /** Seconds that the sender of a request has to wait because of wrong codes; 0: none. */
  wait(request: IncomingMessage): number
  /** Counts a wrong code. */
  count(request: IncomingMessage): void
}

/**
 * Requires the access code of a protected channel.
 *
 * @param codeSha256 - SHA-256 of the code, hex.
 * @throws ServerError `SRV_ACCESS` without the code or with another one; `SRV_RATE` after too many wrong ones.
 */
export function requireAccess(request: IncomingMessage, codeSha256: string, rates: AccessRates | undefined): void {
  const retryAfterS = rates?.wait(request) ?? 0
  if (retryAfterS > 0) throw new ServerError('SRV_RATE', 'Too many wrong access codes', { details: { retryAfterS } })
  const given = request.headers[ACCESS_HEADER]
  if (typeof given === 'string' && timingSafeEqual(sha256(utf8Encode(given)), hexDecode(codeSha256))) return
  if (given !== undefined) rates?.count(request)
  throw new ServerError(
    'SRV_ACCESS',
    given === undefined ? 'This channel needs an access code' : 'This access code is not the one of this channel',
    { hint: 'Ask the publisher for the code of the channel' },
  )
}
