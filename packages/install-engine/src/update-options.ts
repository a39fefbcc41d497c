import type { PlanSummary } from './events.ts'

/** How an update is asked for. */
export interface UpdateOptions {
  readonly signal?: AbortSignal | undefined
  readonly dryRun?: boolean | undefined
  /**
   * Asked once it is known what would come over the network; false ends the update with `LA_NOT_NOW`. Not asked when
   * nothing can be played meanwhile.
   */
  readonly mayDownload?: ((plan: PlanSummary) => boolean) | undefined
  /** Stop once everything is downloaded and verified; the next update puts it in place. */
  readonly downloadOnly?: boolean | undefined
  /** What to do when the client runs by the time the update can be put in place; default `refuse`, with `LA_LOCKED`. */
  readonly whenRunning?: 'refuse' | 'wait' | undefined
}
