// A rotation that was interrupted is finished as it began: its journal says what it does, not the flags of the command
// that resumes it. So the command asks here whether that comes to what was asked for; where it does not, the
// interrupted rotation is finished first and the wanted one follows.

import type { HomeDescription } from '../home.ts'
import type { ContentState } from '../rotation/content-state.ts'
import { contentRotation } from '../rotation/content-state.ts'
import type { IdentityState, IdentityTerms } from '../rotation/identity-state.ts'
import { identityRotation } from '../rotation/identity-state.ts'
import { readRotation } from '../rotation/journal.ts'
import type { RotationRecord } from '../rotation/journal.ts'

/** What was asked of a rotation of the content key; undefined where nothing was said. */
export interface WantedContent {
  readonly full: boolean
  readonly signingKey?: boolean | undefined
  readonly channel: string | undefined
}

/** What was asked of a rotation of the identity; undefined where nothing was said. */
export interface WantedIdentity {
  readonly releaseKey: boolean
  readonly headKey: boolean
  readonly revoke: boolean
  readonly lostKeys?: boolean | undefined
  readonly rolesDays: number | undefined
  readonly channels: readonly string[] | undefined
}

/**
 * Whether an interrupted rotation of the content key comes to what is wanted. One that has no plan yet does what it is
 * told now.
 */
export function contentCovers({ state: { terms } }: RotationRecord<ContentState>, wanted: WantedContent): boolean {
  if (terms === undefined) return true
  if (wanted.signingKey === true && terms.signing === undefined) return false
  return (!wanted.full || terms.full) && (wanted.channel === undefined || wanted.channel === terms.channel)
}

/**
 * Whether an interrupted rotation of the identity comes to what is wanted.
 *
 * @param pending - Its journal.
 * @param home - What is in force.
 */
export function identityCovers(
  { state: { terms } }: RotationRecord<IdentityState>,
  home: HomeDescription,
  wanted: WantedIdentity,
): boolean {
  if (terms === undefined) return true
  return (
    (!wanted.releaseKey || rotates(terms, home, 'release')) &&
    (!wanted.headKey || rotates(terms, home, 'head')) &&
    (!wanted.revoke || terms.revoke) &&
    (wanted.lostKeys !== true || terms.lostKeys === true) &&
    (wanted.rolesDays === undefined || wanted.rolesDays === terms.rolesDays) &&
    (wanted.channels ?? []).every((channel) => terms.channels.includes(channel))
  )
}

/**
 * Whether a rotation of the identity rotates a day-to-day key by itself; a proposal says who signs, and rotates none.
 */
function rotates(terms: IdentityTerms, home: HomeDescription, kind: 'release' | 'head'): boolean {
  const said = kind === 'release' ? terms.releaseKey : terms.headKey
  return said ?? (terms.proposal === undefined && terms[kind] !== home.aliases[kind])
}

/** What an interrupted rotation of the content key is about, for people: "content key 1 to 2". */
export function describeContent({ terms }: ContentState): string {
  if (terms === undefined) return 'content key'
  const signing = terms.signing === undefined ? '' : ', with the archive signing key'
  return `content key ${terms.from} to ${terms.to}${terms.full ? ', every file again' : ''}${signing}`
}

/** What an interrupted rotation of the identity is about, for people. */
export function describeIdentity({ terms }: IdentityState): string {
  if (terms?.proposal !== undefined) return 'identity with the proposed role document'
  const keys = [
    ...(terms?.releaseKey === true ? ['release key'] : []),
    ...(terms?.headKey === true ? ['head key'] : []),
  ]
  return `${['identity', ...keys].join(' with ')}${terms?.revoke === true ? ', revoking what leaves' : ''}`
}

/**
 * What an interrupted rotation of a home is about, for people.
 *
 * @param folder - Of the journals.
 * @param name - Of the journal.
 */
export async function describePending(folder: string, name: string): Promise<string> {
  if (name === contentRotation.name) return describeContent((await readRotation(folder, contentRotation))?.state ?? {})
  if (name === identityRotation.name)
    return describeIdentity((await readRotation(folder, identityRotation))?.state ?? {})
  return name === 'identity-key' ? 'rotation of the identity alone' : name
}
