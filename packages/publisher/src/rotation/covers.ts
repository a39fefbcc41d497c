// A turn that was interrupted is finished as it began: its journal says what it does, not the flags of the command that
// takes it up. So the command asks here whether that comes to what it was told to do; where it does not, the interrupted
// turn is finished first and the wanted one follows.

import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { HomeDescription } from '../home.ts'
import type { TurnRecord } from './journal.ts'

/** What a turn of the content key was told; undefined where nothing was said. */
export interface WantedContent {
  readonly full: boolean
  readonly channel: string | undefined
}

/** What a turn of the identity was told; undefined where nothing was said. */
export interface WantedIdentity {
  readonly releaseKey: boolean
  readonly headKey: boolean
  readonly revoke: boolean
  readonly rolesDays: number | undefined
  readonly channels: readonly string[] | undefined
}

/** A turn that has not worked out its plan does what it is told now. */
function isOpen({ done }: TurnRecord): boolean {
  return !done.includes('plan')
}

/**
 * Whether an interrupted turn of the content key comes to what is wanted.
 *
 * @param pending - Its journal.
 */
export function contentCovers(pending: TurnRecord, { full, channel }: WantedContent): boolean {
  const { facts } = pending
  return (
    isOpen(pending) || ((!full || facts['full'] === true) && (channel === undefined || channel === facts['channel']))
  )
}

/**
 * Whether an interrupted turn of the identity comes to what is wanted.
 *
 * @param pending - Its journal.
 * @param home - What is in force.
 */
export function identityCovers(pending: TurnRecord, home: HomeDescription, wanted: WantedIdentity): boolean {
  if (isOpen(pending)) return true
  const { facts } = pending
  const channels = Array.isArray(facts['channels']) ? facts['channels'] : []
  return (
    (!wanted.releaseKey || turns(facts, home, 'release')) &&
    (!wanted.headKey || turns(facts, home, 'head')) &&
    (!wanted.revoke || facts['revoke'] === true) &&
    (wanted.rolesDays === undefined || wanted.rolesDays === facts['roles_days']) &&
    (wanted.channels ?? []).every((channel) => channels.includes(channel))
  )
}

/** Whether a turn of the identity turns a day-to-day key by itself; a proposal says who signs, and turns none. */
function turns(facts: JsonObject, home: HomeDescription, kind: 'release' | 'head'): boolean {
  const said = facts[`${kind}_key`]
  return typeof said === 'boolean' ? said : facts['proposal'] === undefined && facts[kind] !== home.aliases[kind]
}

/** What an interrupted turn is about, for people: "content key 1 to 2". */
export function describeTurn({ turn, facts }: TurnRecord): string {
  if (turn === 'content')
    return facts['to'] === undefined
      ? 'content key'
      : `content key ${text(facts['from'])} to ${text(facts['to'])}${facts['full'] === true ? ', every file anew' : ''}`
  if (turn !== 'identity') return turn === 'identity-key' ? 'rotation of the identity alone' : turn
  if (facts['proposal'] !== undefined) return 'identity with the proposed role document'
  const keys = [
    ...(facts['release_key'] === true ? ['release key'] : []),
    ...(facts['head_key'] === true ? ['head key'] : []),
  ]
  return `${['identity', ...keys].join(' with ')}${facts['revoke'] === true ? ', revoking what leaves' : ''}`
}

function text(value: JsonValue | undefined): string {
  return typeof value === 'number' ? String(value) : '?'
}
