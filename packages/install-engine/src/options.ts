import { createRequire } from 'node:module'
import { systemClock, systemRandom } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import type { EngineEvent } from './events.ts'
import { nodeFetch } from './fetch/node-fetch.ts'
import { defaultHttpLimits } from './fetch/http.ts'
import type { Fetch, HttpLimits } from './fetch/http.ts'
import type { ResolveHost } from './fetch/near-name.ts'
import type { RuntimeKeyProvider } from './start/runtime-key.ts'
import type { DeliveryName, Target } from './settings.ts'
import { defaultRetryPolicy } from './fetch/source.ts'
import type { RetryPolicy } from './fetch/source.ts'

/** What an engine is made with. Only folder, server and trust are required. */
export interface EngineOptions {
  /** Folder of the install; made if it is not there. */
  readonly folder: string
  /** Address of the release server, or of one product on it (`https://host/p/product/`). */
  readonly server: string
  /** `did:keri:<prefix>?sn=&said=`, or `key:<hex>` for the original's pinned keys. */
  readonly trust: string
  /** Default `stable`. */
  readonly channel?: string | undefined
  /** Default: what the sealed role document says at the first install. */
  readonly product?: string | undefined
  /** Whose files are installed; default `windows`, as in the original. */
  readonly target?: Target | undefined
  /** The components to have, and no others; `components` does not count then. */
  readonly groups?: readonly string[] | undefined
  /** Components that the player chose or left out, by name; default: what the release says of each. */
  readonly components?: Readonly<Record<string, boolean>> | undefined
  /** Access code of the channel, where its publisher protects it; sent to the server alone, never to a mirror. */
  readonly accessCode?: string | undefined
  /** A server of this network with the release's files, tried first; default: those that the publisher names. */
  readonly lanMirror?: string | undefined
  /** Program to start, then its arguments; default: the release's only program. */
  readonly program?: readonly string[] | undefined
  /** How the client gets its key; default `env`. */
  readonly delivery?: DeliveryName | undefined
  /** Version held against `min_launcher_version`; default this package's. */
  readonly launcherVersion?: string | undefined
  /** Bytes a second; default: no limit. */
  readonly bytesPerSecond?: number | undefined
  /** Connections at a time; default 6. */
  readonly connections?: number | undefined
  /** How long a start must live to count as good; default 30 s. */
  readonly confirmAfterMs?: number | undefined
  /** How long a locked file is waited for; default 30 s. */
  readonly lockPatienceMs?: number | undefined
  /** How long another launcher on the same install is waited for; default 0. */
  readonly lockWaitMs?: number | undefined
  /** How long a start waits for the server to say what is new; default 10 s. What is installed starts then. */
  readonly promptDeadlineMs?: number | undefined
  /** How long a client must live to count as played; default 30 s. */
  readonly playedAfterMs?: number | undefined
  /** Whether the server hears how far updates get: counts by version, without any id; default false. */
  readonly reports?: boolean | undefined
  /** Default: none is sent. */
  readonly telemetryUrlTemplate?: string | undefined
  /**
   * Whether an update for which old and new do not fit on the disk together may go file by file; default false. Until
   * such an update is finished, the install cannot be played.
   */
  readonly lowSpace?: boolean | undefined
  /**
   * Folders below the install that may be links on this machine, for a player who moved one to another disk; default
   * none: nothing is read or written through a link.
   */
  readonly linkedFolders?: readonly string[] | undefined
  /** Takes a release before its turn in a staged rollout; default false. */
  readonly ignoreRollout?: boolean | undefined
  /** Whether a key that came over Noise is kept, sealed, for offline starts; default true. */
  readonly runtimeKeyCache?: boolean | undefined
  /**
   * For releases that ship no runtime key file; default: the server, over Noise, when the role document names its
   * identity.
   */
  readonly runtimeKeys?: RuntimeKeyProvider | undefined
  /**
   * Whether the folder is made where it is not there; default true. A launcher that runs for an install says false: one
   * that was moved away is not installed again in its old place.
   */
  readonly makesFolder?: boolean | undefined
  /** Called for every event; must not throw. */
  readonly onEvent?: ((event: EngineEvent) => void) | undefined
  /** Whether `launcher.log` is written; default true. */
  readonly logFile?: boolean | undefined
  /** Default: one over `node:http`, with the proxies of the environment. */
  readonly fetch?: Fetch | undefined
  /**
   * Looks up the names of hosts that the publisher names for players' own networks; default: the name service of this
   * system.
   */
  readonly resolveHost?: ResolveHost | undefined
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
  readonly clock?: Clock | undefined
  /** Milliseconds that never run backwards; default `performance.now`. */
  readonly monotonic?: (() => number) | undefined
  readonly random?: RandomSource | undefined
  readonly httpLimits?: Partial<HttpLimits> | undefined
  readonly retry?: Partial<RetryPolicy> | undefined
  /** Environment that the client inherits; default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

/** The options with every default in place. */
export interface ResolvedOptions extends EngineOptions {
  readonly channel: string
  readonly target: Target
  readonly delivery: DeliveryName
  readonly launcherVersion: string
  readonly connections: number
  readonly confirmAfterMs: number
  readonly playedAfterMs: number
  readonly lockPatienceMs: number
  readonly lockWaitMs: number
  readonly promptDeadlineMs: number
  readonly fetch: Fetch
  readonly fs: FileSystem
  readonly clock: Clock
  readonly monotonic: () => number
  readonly random: RandomSource
  readonly http: HttpLimits
  readonly retryPolicy: RetryPolicy
  readonly env: Readonly<Record<string, string | undefined>>
}

function defined<T extends object>(partial: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(partial ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>
}

/** Version of this launcher: what manifests may hold a floor against. */
export const { version: launcherVersion } = createRequire(import.meta.url)('../package.json') as { version: string }

/** Reads the options once, at the door. */
export function resolveOptions(options: EngineOptions): ResolvedOptions {
  if (!URL.canParse(options.server)) throw new TypeError('EngineOptions.server is not a URL')
  if (options.folder === '') throw new TypeError('EngineOptions.folder is empty')
  return {
    ...options,
    channel: options.channel ?? 'stable',
    target: options.target ?? 'windows',
    delivery: options.delivery ?? 'env',
    launcherVersion: options.launcherVersion ?? launcherVersion,
    connections: options.connections ?? 6,
    confirmAfterMs: options.confirmAfterMs ?? 30_000,
    playedAfterMs: options.playedAfterMs ?? 30_000,
    lockPatienceMs: options.lockPatienceMs ?? 30_000,
    lockWaitMs: options.lockWaitMs ?? 0,
    promptDeadlineMs: options.promptDeadlineMs ?? 10_000,
    fetch: options.fetch ?? nodeFetch,
    fs: options.fs ?? nodeFileSystem,
    clock: options.clock ?? systemClock,
    monotonic: options.monotonic ?? (() => performance.now()),
    random: options.random ?? systemRandom,
    http: { ...defaultHttpLimits, ...defined(options.httpLimits) },
    retryPolicy: { ...defaultRetryPolicy, ...defined(options.retry) },
    env: options.env ?? process.env,
  }
}
