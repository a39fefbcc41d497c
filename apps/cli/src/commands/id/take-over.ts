import { checkStream, verifyLog } from '@keyturn/kel'
import type { Kel } from '@keyturn/kel'

/** How logs are kept in git: by us, and by auths. */
export const LAYOUTS = ['keri', 'auths'] as const
/** One of these formats. */
export type Layout = (typeof LAYOUTS)[number]

/** Largest log that commands read. */
export const MAX_LOG_BYTES = 64 * 1024 * 1024

/**
 * Appends the events that another copy of a log has and this one lacks. A fork stops at the first conflicting event
 * with `KEL_DUPLICITY`, and the evidence is kept.
 *
 * @param stream - The other copy, a CESR stream of one identity.
 * @returns How many events were appended.
 */
export async function takeOver(stream: Uint8Array, kel: Kel): Promise<number> {
  const offered = verifyLog(stream, { prefix: kel.prefix, maxBytes: MAX_LOG_BYTES })
  const events = new Map([...offered.superseded, ...offered.events].map((event) => [event.said, event]))
  let taken = 0
  // In the order of the stream, which is the order its owner saw them in: what a rotation supersedes came before it.
  for (const { said } of checkStream(stream, { maxBytes: MAX_LOG_BYTES }).messages) {
    const event = events.get(said)
    if (event === undefined || kel.firstSeen.includes(said)) continue
    taken += (await kel.append(event.message, 'remote')).accepted.length
  }
  return taken
}
