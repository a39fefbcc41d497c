/** Steps of an update that launchers report, in their order. */
export const funnelSteps = ['started', 'downloaded', 'swapped', 'confirmed', 'played'] as const
/** What ends without the next step: the update, or a start of what it installed. */
export const funnelFailures = ['failed', 'start-failed'] as const

/** One step that a launcher reports. */
export type FunnelStep = (typeof funnelSteps)[number] | (typeof funnelFailures)[number]

/** How often each step was reported. */
export type FunnelCounts = Readonly<Record<FunnelStep, number>>

/** What launchers that report said of a release. */
export interface FunnelView {
  readonly version: string
  readonly counts: FunnelCounts
  /** Why updates and starts failed: code to count. */
  readonly codes: Readonly<Record<string, number>>
  /** Starts that lived, of those that lived or did not, in percent; null while nobody reported one. */
  readonly confirm_rate: number | null
  /** How many starts the rate is of: only a few for each address and hour. */
  readonly confirm_sample: number
}

/** The rule by which a rollout halts itself. */
export interface AutoHaltView {
  readonly version: string
  /** The rollout halts when the confirm rate is below this, in percent. */
  readonly percent: number
  /** Starts that have to be reported first. */
  readonly sample: number
  readonly set_by: string
  readonly set_at: string
  /** What was reported when the rollout was halted; null before. */
  readonly halted: { readonly at: string; readonly confirm_rate: number; readonly confirm_sample: number } | null
}

/** How the release of a channel fares, beside the one before it. */
export interface HealthView {
  readonly product: string
  readonly channel: string
  readonly release: FunnelView | null
  readonly before: FunnelView | null
  readonly auto_halt: AutoHaltView | null
}

/** What somebody wrote about a release. */
export interface ReleaseNoteView {
  readonly text: string
  /** Who wrote it: `token:<id>` or `oidc:<subject>`. */
  readonly by: string
  readonly at: string
}
