/** An install that a process of the drill looks after. */
export interface DrillInstall {
  readonly name: string
  readonly folder: string
}

/** What such a process is started with. */
export interface LauncherStart {
  readonly type: 'start'
  readonly installs: readonly DrillInstall[]
  readonly server: string
  readonly trust: string
  readonly product: string
  readonly channel: string
  /** Program of the client; the folder of the install is added. */
  readonly program: readonly string[]
  /** Pause between two looks. */
  readonly checkMs: number
}

/** What it is asked to do. */
export type LauncherCommand =
  | LauncherStart
  /** Each install asks another server once, as a player whose network belongs to a thief would. */
  | { readonly type: 'visit'; readonly id: number; readonly server: string }
  | { readonly type: 'stop' }

/** One look for an update, and how it ended. */
export interface LauncherCheck {
  readonly type: 'check'
  readonly launcher: string
  /** When it began. */
  readonly startedMs: number
  readonly version: string | undefined
  readonly rolesVersion: number | undefined
  readonly downloadedBytes: number
  /** Code of a refusal; empty when the look went well. */
  readonly code: string
}

/** One start of the client, by a player. */
export interface LauncherPlay {
  readonly type: 'play'
  readonly launcher: string
  /** Empty when the client opened every archive and ended well. */
  readonly problem: string
}

/** What came of a visit. */
export interface LauncherVisit {
  readonly type: 'visited'
  readonly id: number
  readonly launcher: string
  /** Whether another release is installed now. */
  readonly isChanged: boolean
  /** Code of the refusal; empty when nothing was refused. */
  readonly code: string
}

/** What it reports. */
export type LauncherReport = LauncherCheck | LauncherPlay | LauncherVisit
