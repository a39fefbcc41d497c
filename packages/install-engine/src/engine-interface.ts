import type { ComponentShare } from '@keyturn/manifest'
import type { EngineState, Progress, TrustStatus } from './events.ts'
import type { PreloadOptions, PreloadResult } from './preload-flow.ts'
import type { StartedClient } from './start/launch.ts'
import type { UpdateOptions } from './update-options.ts'

/** What {@link Engine.update} and {@link Engine.repair} came to. */
export interface UpdateResult {
  /**
   * `stay`: the server offers nothing for this install, which keeps what it has. `staged`: `version` is downloaded and
   * verified, and not in place.
   */
  readonly outcome: 'updated' | 'up-to-date' | 'repaired' | 'stay' | 'rolled-back' | 'staged'
  readonly version: string | undefined
  readonly previousVersion: string | undefined
  readonly trust: TrustStatus
  readonly writtenFiles: number
  readonly removedFiles: number
  readonly keptFiles: readonly string[]
  /** What was the player's own and in the way of the release, with the name it has now. */
  readonly setAside: readonly { readonly path: string; readonly to: string }[]
  readonly downloadedBytes: number
  readonly releaseBytes: number
}

/**
 * What the public log of releases says of the newest accepted release: confirmed by witnesses, or installed without a
 * proof as long as the grace time lasts.
 */
export type PublishedStatus =
  | {
      /** Witnesses of the policy that have signed, and how many there are. */
      readonly signed: number
      readonly of: number
      /** Name of the log, and the place in it. */
      readonly origin: string
      readonly index: number
    }
  | {
      /** RFC 3339; then only what is installed plays. */
      readonly until: string
    }

/** What {@link Engine.status} knows without asking anybody. */
export interface EngineStatus {
  readonly folder: string
  readonly server: string
  readonly channel: string
  readonly state: EngineState
  readonly version: string | undefined
  readonly sequence: number | undefined
  /** SHA-256 of the installed manifest. */
  readonly manifestSha256: string | undefined
  readonly trust: TrustStatus
  /** Why it is not `current`, in the words of the rule that says so. */
  readonly reason: { readonly code: string; readonly message: string } | undefined
  /** Why the last offer of the server was refused; undefined once a later one was accepted. */
  readonly refused: { readonly code: string; readonly message: string; readonly at: string } | undefined
  /** What the public log of releases says of it; undefined where the publisher keeps none. */
  readonly published: PublishedStatus | undefined
  readonly rolesVersion: number | undefined
  readonly notes: string | undefined
  /** What may be left out of the installed release, and whether it is. */
  readonly components: readonly ComponentShare[]
  /** Whether the client of this release is handed a key. */
  readonly needsKey: boolean
  /** The newest release that this channel is known to offer; another one than `version` after a rollback. */
  readonly offered: string | undefined
  /** What `offered` says of itself. */
  readonly offeredNotes: string | undefined
  readonly confirmed: boolean
  readonly failedStarts: number
  /** The client that runs from this install, started by any launcher. */
  readonly clientPid: number | undefined
  readonly canRollBack: boolean
  /** The release that an update is on its way to file by file; until it is there nothing can be played. */
  readonly unfinished: string | undefined
  /** The release that is scheduled, and whether all of it is downloaded; `full`: it does not fit on the disk. */
  readonly next:
    | { readonly version: string; readonly at: string; readonly state: 'coming' | 'ready' | 'full' }
    | undefined
  readonly paused: boolean
  readonly bytesPerSecond: number | undefined
  readonly progress: Progress
}

/** The release that the server offers, before anything of it is here. */
export interface Offer {
  readonly version: string
  /** Markdown; `undefined` where the release has none. */
  readonly notes: string | undefined
  /** Bytes of the files that belong to no component. */
  readonly bytes: number
  readonly components: readonly ComponentShare[]
  /** Every file for this machine, relative to the install. */
  readonly paths: readonly string[]
}

/** How a start goes. */
export interface LaunchOptions {
  readonly signal?: AbortSignal | undefined
  /** Whether an update is looked for first; default true. */
  readonly update?: boolean | undefined
  /** As for an update. */
  readonly mayDownload?: UpdateOptions['mayDownload'] | undefined
  /** Ask nobody, neither for an update nor for a file to repair with nor for a key; default false. */
  readonly offline?: boolean | undefined
  /** Play although the server's newest manifest carried a wrong signature. */
  readonly playInstalled?: boolean | undefined
  /**
   * The child's stdin, stdout, stderr; default `inherit`. To read what it prints, give the descriptor of a file: a child
   * that ends at once may be gone before `launch()` settles, and Node drops what a pipe held then.
   */
  readonly stdio?: readonly ('ignore' | 'inherit' | 'pipe' | number)[] | undefined
  /** Arguments after those of the program. */
  readonly args?: readonly string[] | undefined
}

/** A start. */
export interface LaunchResult extends StartedClient {
  readonly version: string
  /** No server was, or could be, asked; what is installed was started. */
  readonly offline: boolean
  readonly trust: TrustStatus
  /** What the update before it came to, if there was one. */
  readonly update: UpdateResult | undefined
}

/**
 * The update engine of one install. Operations run one at a time, but for the download of an update: while that goes
 * on, the installed release can be started.
 */
export interface Engine {
  /** Brings the install to the newest release that may be installed. */
  update(options?: UpdateOptions): Promise<UpdateResult>
  /**
   * Fetches the release that the head schedules, if there is one, into the staging folder, and leaves the install as it
   * is. The next update puts it in place once the publisher offers it. Any other operation comes first and ends this;
   * what was fetched stays. What is no longer scheduled is removed.
   */
  preload(options?: PreloadOptions): Promise<PreloadResult>
  /** Reads every byte of the installed release and fetches what is wrong. */
  repair(options?: { signal?: AbortSignal | undefined }): Promise<UpdateResult>
  /** Updates if it can, then starts the client with its key; while an update downloads, starts what is installed. */
  launch(options?: LaunchOptions): Promise<LaunchResult>
  /** Goes back to the release before, while its files are kept. */
  rollback(): Promise<UpdateResult>
  /**
   * The hook for a self-update: brings the launcher that the newest accepted manifest names, signed with it under role
   * `release`, to a path of the caller's choice, verified and whole. Putting it in place is the host's business.
   *
   * @returns `false` when the release names none, or none for this target.
   */
  fetchLauncher(path: string, options?: { signal?: AbortSignal | undefined }): Promise<boolean>
  /**
   * Asks the server what a first install would be, verified. Nothing of the release is downloaded.
   *
   * @returns `undefined` when the server offers nothing to this install.
   */
  offer(options?: { signal?: AbortSignal | undefined }): Promise<Offer | undefined>
  /**
   * A file of the installed release, verified: its bytes are those that the signed manifest names.
   *
   * @returns `undefined` when the release does not have it for this target.
   * @throws LauncherError `LA_HASH` when it is missing or changed, `LA_NOT_INSTALLED`, `LA_BARRED` ….
   */
  read(path: string): Promise<Uint8Array | undefined>
  /** Of these manifests (SHA-256), those that the publisher has withdrawn, as far as is known here. */
  withdrawn(manifests: readonly string[]): Promise<readonly string[]>
  /** What is known now. */
  status(): Promise<EngineStatus>
  /** Stops downloading until {@link Engine.resume}, also after a restart. */
  pause(): Promise<void>
  /** Allows downloading again; the next {@link Engine.update} goes on where it stopped. */
  resume(): Promise<void>
  /** Bytes a second from now on, `undefined` for no limit. */
  setLimit(bytesPerSecond: number | undefined): void
  /** Turns reports on or off at once; as `reports` of the options does. */
  setReports(isOn: boolean): void
}
