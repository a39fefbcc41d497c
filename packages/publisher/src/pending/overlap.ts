import type { JsonObject } from '@keyturn/primitives'
import type { HomeSession } from '../home-session.ts'
import { offeringChannels, readPublishedChannels, readStoredHead } from '../records/heads.ts'
import type { ContentRotationPlan } from '../rotation/content.ts'

/** Something old that stays valid beside what a rotation puts in force. */
export interface Overlap {
  readonly what: string
  /** ISO 8601, or words when there is no end date. */
  readonly until: string
}

/** What stays valid beside a new content key, and until when. */
export async function contentOverlaps(home: HomeSession, plan: ContentRotationPlan): Promise<Overlap[]> {
  const { release } = plan
  const installed = {
    what: `archives of content key ${plan.from} that players have`,
    until: 'they are updated: that key opens them, and nothing new',
  }
  if (release === undefined) return [installed]
  const { version, channel, expiresAt } = release.manifest
  return [
    installed,
    { what: `release ${version}`, until: expiresAt ?? 'forever' },
    ...(await headOverlap(home, channel ?? home.description.channel)),
    ...(await otherChannels(home, channel ?? home.description.channel)),
  ]
}

/** A content key is rotated for what one channel offers; what the others offer still opens with the one before. */
async function otherChannels(home: HomeSession, rotated: string): Promise<Overlap[]> {
  const others = (await readPublishedChannels(home.paths)).filter((channel) => channel !== rotated)
  return others.map((channel) => ({
    what: `what channel ${channel} offers, which opens with the content key that it was made with`,
    until: 'the next release there',
  }))
}

/** What stays valid beside a rotated identity, and until when. */
export async function identityOverlaps(
  home: HomeSession,
  { channels, revoke }: { readonly channels?: readonly string[] | undefined; readonly revoke: boolean },
): Promise<Overlap[]> {
  const all = channels ?? (await offeringChannels(home.paths, home.description.channel))
  const heads = await Promise.all(all.map((channel) => headOverlap(home, channel)))
  return [
    {
      what: 'what is installed',
      until: revoke
        ? 'it is signed again by the new key: the old one counts for nothing from this rotation on'
        : 'its manifest expires: the same bytes are signed again',
    },
    ...heads.flat(),
    { what: 'linked devices', until: 'this rotation: link them again after it' },
  ]
}

async function headOverlap(home: HomeSession, channel: string): Promise<Overlap[]> {
  const stored = await readStoredHead(home.paths, channel)
  if (stored === undefined) return []
  return [
    {
      what: `head ${stored.head.sequence} of channel ${channel}, for launchers that see nothing newer`,
      until: stored.head.expiresAt,
    },
  ]
}

/** For the JSON envelope. */
export function overlapData(overlaps: readonly Overlap[]): JsonObject[] {
  return overlaps.map(({ what, until }) => ({ what, until }))
}

/** For people. */
export function overlapText(overlaps: readonly Overlap[]): string {
  return ['Stays valid:', ...overlaps.map(({ what, until }) => `  ${what}, until ${until}`)].join('\n')
}
