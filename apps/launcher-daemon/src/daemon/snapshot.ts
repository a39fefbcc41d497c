import { KeyturnError } from '@keyturn/primitives'
import type { EngineOptions, EngineStatus, Offer, Progress, Settings } from '@keyturn/install-engine'
import type { WaitReason } from './download-policy.ts'

/** What a page may ask for. */
export type Activity = 'update' | 'repair' | 'rollback' | 'launch'

/** An error as the page shows it. */
export interface ShownError {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly kind: string
}

/** Everything the page shows. */
export interface Snapshot extends EngineStatus {
  readonly activity: Activity | undefined
  readonly isRunning: boolean
  readonly offline: boolean
  readonly lastError: ShownError | undefined
  readonly lastResult:
    | {
        readonly activity: Activity
        readonly outcome: string
        readonly version: string | undefined
        readonly downloadedBytes: number
      }
    | undefined
  readonly settings: OpenSettings
  /** An update that waits, and what for. */
  readonly waiting: { readonly reason: WaitReason; readonly version: string; readonly bytes: number } | undefined
  /** Whether the page asks for a folder first. */
  readonly needsSetup: boolean
  /** Before the first install: what it would be, once the server has said so. */
  readonly offer: Omit<Offer, 'paths'> | undefined
}

/** Settings that may be changed from the page: no folder, server, trust or program is among them. */
export type OpenSettings = {
  /** Present and `undefined`: no longer set. */
  readonly [Name in (typeof OPEN_SETTINGS)[number]]?: Settings[Name] | undefined
}

/** The names of {@link OpenSettings}. */
export const OPEN_SETTINGS = [
  'channel',
  'limit',
  'language',
  'components',
  'backgroundLimit',
  'pauseWhilePlaying',
  'downloadHours',
  'askAbove',
  'reports',
] as const satisfies readonly (keyof Settings)[]

/** How an activity is begun. */
export interface BeginOptions {
  readonly playInstalled?: boolean | undefined
  /** The player asked for it: neither size nor hour holds a download up. */
  readonly isAsked?: boolean | undefined
}

/** What of the settings the page shows. */
export function openSettings(settings: Settings): OpenSettings {
  const named = OPEN_SETTINGS.map((name) => [name, settings[name]]).filter(([, value]) => value !== undefined)
  return { channel: 'stable', ...Object.fromEntries(named) }
}

/** What the first page asks before anything is downloaded. */
export interface Setup {
  /** The folder that is offered. */
  readonly folder: string
  /**
   * Checks and keeps the folder that the player chose.
   *
   * @throws LauncherError `LA_FOLDER` saying what is wrong with it.
   */
  readonly choose: (folder: string, options: ChooseOptions) => Promise<string>
  /** Says what a folder is, without changing anything. */
  readonly look?: ((folder: string, paths: readonly string[]) => Promise<FolderLook>) | undefined
  /** A folder of the launcher's own, where what the server offers is verified before the player has chosen. */
  readonly offerFolder?: string | undefined
}

/** How a folder is taken. */
export interface ChooseOptions {
  /** Take one that holds other files, if the game's are among them. */
  readonly adopt?: boolean | undefined
  /** Files of the release, relative to the install. */
  readonly paths?: readonly string[] | undefined
  readonly components?: Readonly<Record<string, boolean>> | undefined
}

/** What a folder is that a player might choose. */
export interface FolderLook {
  /** `game`: files of the release are in it, and it is not an install yet. */
  readonly kind: 'new' | 'empty' | 'install' | 'game' | 'refused'
  /** Bytes that this user may still write there. */
  readonly freeBytes: number | undefined
  /** Files of the release that are in it. */
  readonly found: number
  /** Why it is refused. */
  readonly message?: string | undefined
}

/** What a supervisor is made with. */
export interface SupervisorOptions {
  readonly folder: string
  /** Present until the player has chosen a folder; nothing is read or downloaded before. */
  readonly setup?: Setup | undefined
  readonly settings: Settings & { readonly server: string; readonly trust: string }
  /** Beyond what settings say: seams for tests. */
  readonly engine?: Partial<EngineOptions>
  /** Whether the connection is metered; default: what the system says. */
  readonly isMetered?: (() => Promise<boolean | undefined>) | undefined
}

const IDLE_PROGRESS: Progress = {
  phase: 'idle',
  downloadedBytes: 0,
  downloadTotalBytes: 0,
  diskBytes: 0,
  diskTotalBytes: 0,
  files: 0,
  fileTotal: 0,
  bytesPerSecond: 0,
  secondsLeft: undefined,
}

/** The status before a folder is chosen: there is nothing to ask the engine, which would make one. */
export function untouchedStatus(folder: string, settings: Settings & { readonly server: string }): EngineStatus {
  return {
    folder,
    server: settings.server,
    channel: settings.channel ?? 'stable',
    state: 'idle',
    version: undefined,
    sequence: undefined,
    manifestSha256: undefined,
    trust: 'pinned',
    reason: undefined,
    refused: undefined,
    published: undefined,
    rolesVersion: undefined,
    notes: undefined,
    components: [],
    needsKey: false,
    offered: undefined,
    offeredNotes: undefined,
    confirmed: false,
    failedStarts: 0,
    clientPid: undefined,
    canRollBack: false,
    unfinished: undefined,
    next: undefined,
    paused: false,
    bytesPerSecond: settings.limit,
    progress: IDLE_PROGRESS,
  }
}

/** An error for the page. */
export function shown(error: unknown): ShownError {
  if (error instanceof KeyturnError)
    return { code: error.code, message: error.message, hint: error.hint, kind: error.kind }
  return {
    code: 'LA_BUG',
    message: error instanceof Error ? error.message : String(error),
    hint: undefined,
    kind: 'bug',
  }
}
