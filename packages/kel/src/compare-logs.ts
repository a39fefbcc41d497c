import { requireMembers } from '@keyturn/primitives'
import type { Place } from './key-state.ts'
import type { VerifiedEvent } from './log.ts'
import type { VerifiedLog } from './verified-log.ts'

/** How one verified log relates to another of the same identity. */
export type LogRelation =
  | { readonly relation: 'same' | 'ahead' | 'behind' }
  | { readonly relation: 'forked'; readonly sn: number; readonly ours: VerifiedEvent; readonly theirs: VerifiedEvent }

function isInteraction(event: VerifiedEvent | undefined): boolean {
  return event?.type === 'ixn'
}

/**
 * True when every event of a chain from `sn` to its next establishment is an interaction that a rotation may displace.
 */
function onlyInteractions(events: readonly VerifiedEvent[], sn: number): boolean {
  return events.slice(sn).every(isInteraction)
}

/**
 * Compares a log that is held with one that is offered, both verified. `ahead`: the offered one goes on from the held
 * one, or displaces interactions of it by a rotation as the recovery rule allows. `behind`: the other way round.
 * `forked`: two valid events at one place, the proof of duplicity.
 *
 * @throws TypeError when the logs belong to two identities.
 */
export function compareLogs(ours: VerifiedLog, theirs: VerifiedLog): LogRelation {
  if (ours.prefix !== theirs.prefix) throw new TypeError('Logs of two identities cannot be compared')
  const shared = Math.min(ours.events.length, theirs.events.length)
  let sn = 0
  while (sn < shared && ours.events[sn]?.said === theirs.events[sn]?.said) sn++
  const own = ours.events[sn]
  const other = theirs.events[sn]
  if (own === undefined && other === undefined) return { relation: 'same' }
  if (own === undefined) return { relation: 'ahead' }
  if (other === undefined) return { relation: 'behind' }
  if (other.type !== 'ixn' && onlyInteractions(ours.events, sn)) return { relation: 'ahead' }
  if (own.type !== 'ixn' && onlyInteractions(theirs.events, sn)) return { relation: 'behind' }
  return { relation: 'forked', sn, ours: own, theirs: other }
}

/** Whether a verified log holds a place: in its chain, among its superseded interactions, or not at all. */
export function findPlace(log: VerifiedLog, place: Place): 'accepted' | 'superseded' | 'missing' {
  requireMembers(log, 'log', ['events', 'superseded'])
  requireMembers(place, 'place', ['sn', 'said'])
  if (log.events[place.sn]?.said === place.said) return 'accepted'
  return log.superseded.some(({ sn, said }) => sn === place.sn && said === place.said) ? 'superseded' : 'missing'
}
