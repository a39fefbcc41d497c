import type { PlayerConfig } from '../player-config.ts'

/** What the process gives to the program; tests give their own. */
export interface ProgramEnvironment {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: {
    readonly isTTY?: boolean | undefined
    readonly columns?: number | undefined
    write(text: string): unknown
  }
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
  /** Folder of the program. */
  readonly programFolder: string
  /** Present in a studio's launcher: what its executable says of server, pin and folder. */
  readonly player?: PlayerDefaults | undefined
}

/** What a studio's launcher knows by itself. */
export interface PlayerDefaults {
  readonly config: PlayerConfig
  readonly stateFolder: string
  readonly folder: string
  /** Version of the bundle that runs, for reports; default: that of the executable. */
  readonly runningVersion?: (() => Promise<string>) | undefined
  /** Fetches a newer launcher; whether the next start is one. Asked when a release needs it. */
  readonly updateLauncher?: (() => Promise<boolean>) | undefined
}
