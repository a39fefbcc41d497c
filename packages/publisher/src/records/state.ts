import { isWithdrawn } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'

/** What a release is on its channel; the same words in every place. */
export type ReleaseState =
  | 'draft'
  | 'signed'
  | 'offered'
  | 'rolling out'
  | 'halted'
  | 'withdrawn'
  | 'superseded'
  | 'expired'
  | 'scheduled'

/** What is asked about a release. */
export interface ReleasePlace {
  readonly sha256: string
  readonly sequence: number
  readonly signed: boolean
}

/**
 * The state of a release on its channel.
 *
 * @param head - What launchers are shown; undefined before the first head.
 */
export function releaseState(
  { sha256, sequence, signed }: ReleasePlace,
  head: Head | undefined,
  nowMs: number,
): ReleaseState {
  if (!signed) return 'draft'
  if (head === undefined) return 'signed'
  if (isWithdrawn(head, { sha256, sequence })) return 'withdrawn'
  if (head.preload?.sha256 === sha256) return 'scheduled'
  const isFallback = head.fallback?.sha256 === sha256
  if (head.manifest.sha256 !== sha256 && !isFallback) return sequence > head.manifest.sequence ? 'signed' : 'superseded'
  if (nowMs >= Date.parse(head.expiresAt)) return 'expired'
  if (isFallback || head.rollout === undefined) return 'offered'
  return head.rollout.paused ? 'halted' : 'rolling out'
}

/** The state in words: `rolling out 20 %`. */
export function stateText(state: ReleaseState, head: Head | undefined): string {
  if (state === 'scheduled') return `scheduled for ${head?.preload?.at ?? ''}`
  return state === 'rolling out' ? `rolling out ${head?.rollout?.percent ?? 0} %` : state
}
