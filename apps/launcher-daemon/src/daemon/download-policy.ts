import type { Settings } from '@keyturn/install-engine'

/** Why an update is not downloaded now. `size` and `metered` wait for the player's word. */
export type WaitReason = 'game' | 'night' | 'size' | 'metered'

/** What the decision is made from. */
export interface DownloadMoment {
  readonly bytes: number
  /** Whether the client runs. */
  readonly isPlaying: boolean
  readonly isMetered: boolean | undefined
  /** Local time. */
  readonly now: Date
}

/** Updates up to this size come unasked, if the player did not say otherwise. */
export const DEFAULT_ASK_ABOVE = 1_000_000_000
/** On a connection that is paid for by what it carries, updates up to this size come unasked. */
const METERED_ASK_ABOVE = 10_000_000

function minutesOf(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number)
  return hours * 60 + minutes
}

/** Whether a time is within hours such as `23:00-07:00`; equal ends mean the whole day. */
export function isWithin(hours: string, now: Date): boolean {
  const [from = 0, to = 0] = hours.split('-').map(minutesOf)
  const at = now.getHours() * 60 + now.getMinutes()
  return from < to ? at >= from && at < to : at >= from || at < to
}

/** Why a download that nobody asked for has to wait; `undefined`: it may begin. */
export function whyWait(settings: Settings, moment: DownloadMoment): WaitReason | undefined {
  const { askAbove = DEFAULT_ASK_ABOVE, downloadHours, pauseWhilePlaying } = settings
  if (moment.bytes === 0) return undefined
  if (pauseWhilePlaying === true && moment.isPlaying) return 'game'
  if (downloadHours !== undefined && !isWithin(downloadHours, moment.now)) return 'night'
  if (moment.bytes > askAbove) return 'size'
  return moment.isMetered === true && moment.bytes > METERED_ASK_ABOVE ? 'metered' : undefined
}

/** Bytes a second for now: another limit counts while the client runs or nobody looks. */
export function limitFor(
  { limit, backgroundLimit }: Settings,
  { isPlaying, isWatched }: { isPlaying: boolean; isWatched: boolean },
): number | undefined {
  return isPlaying || !isWatched ? (backgroundLimit ?? limit) : limit
}
