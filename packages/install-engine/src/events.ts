/** Where the engine is; `docs/spec/launcher.md` §2. */
export type EngineState =
  | 'idle'
  | 'lock'
  | 'recover'
  | 'trust'
  | 'plan'
  | 'preflight'
  | 'fetch'
  | 'stage'
  /** Everything is staged; the swap waits for the client to end. */
  | 'wait'
  | 'commit'
  | 'swap'
  | 'prune'
  | 'finalize'
  | 'key-load'
  | 'launch'
  | 'confirm'

/** Trust in the installed release and its publisher; `docs/spec/manifest.md` §4. */
export type TrustStatus = 'pinned' | 'current' | 'stale' | 'barred' | 'forked'

/** How far the present work is. Totals only grow, and nothing ever exceeds its total. */
export interface Progress {
  readonly phase: EngineState
  /** Bytes over the network. */
  readonly downloadedBytes: number
  readonly downloadTotalBytes: number
  /** Bytes written or verified on disk. */
  readonly diskBytes: number
  readonly diskTotalBytes: number
  readonly files: number
  readonly fileTotal: number
  /** Smoothed over five seconds. */
  readonly bytesPerSecond: number
  /** `undefined` while it is not known. */
  readonly secondsLeft: number | undefined
}

/** What an update will do, known once it is planned. */
export interface PlanSummary {
  readonly version: string
  /** Files to write and to remove. */
  readonly changedFiles: number
  readonly removedFiles: number
  /** Bytes of all files of the release. */
  readonly releaseBytes: number
  /** Bytes of the files that change. */
  readonly changedBytes: number
  /** Bytes that will come over the network. */
  readonly downloadBytes: number
}

/** Every event of the engine. Each carries the time of the injected clock. */
export type EngineEvent = { readonly at: number } & (
  | { readonly type: 'state'; readonly state: EngineState }
  | { readonly type: 'trust'; readonly status: TrustStatus; readonly reason?: string | undefined }
  | { readonly type: 'plan'; readonly plan: PlanSummary }
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'file'; readonly path: string; readonly action: 'written' | 'removed' | 'kept' }
  | { readonly type: 'notice'; readonly code: string; readonly message: string }
  | { readonly type: 'paused'; readonly paused: boolean }
  | {
      readonly type: 'child'
      readonly event: 'started' | 'confirmed' | 'exited'
      readonly pid: number
      readonly exitCode?: number | null
    }
)

/** An event before its time is set. */
export type EngineEventBody = EngineEvent extends infer E ? (E extends EngineEvent ? Omit<E, 'at'> : never) : never

/** Takes an event; must not throw. */
export type EmitEvent = (event: EngineEventBody) => void
