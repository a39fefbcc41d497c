import { isRecord, parseStrictJson } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { diskError, LauncherError } from './errors.ts'
import { readSmallFile, writeSmallFile } from './disk/disk.ts'
import { hostSystem } from './disk/host-system.ts'
import type { Layout } from './disk/layout.ts'

/**
 * The platform whose files are installed. A Windows client runs on Linux through wine, so it is chosen, not guessed.
 */
export type Target = 'windows' | 'linux' | 'macos'

/** How the client gets its key; set on this machine only, never by a manifest or the server. */
export type DeliveryName = 'env' | 'fd' | 'shared-memory'

/** `settings.json`: what belongs to this machine. Members that are absent have their default. */
export interface Settings {
  readonly server?: string | undefined
  readonly trust?: string | undefined
  readonly product?: string | undefined
  readonly channel?: string | undefined
  readonly target?: Target | undefined
  /** Program to start, relative to the install, or an absolute path; then its arguments. */
  readonly program?: readonly string[] | undefined
  readonly delivery?: DeliveryName | undefined
  /** Bytes a second. */
  readonly limit?: number | undefined
  /** The components to have, and no others; what launchers before 0.3 kept. */
  readonly groups?: readonly string[] | undefined
  /** Components that the player chose or left out; one that is absent follows its default. */
  readonly components?: Readonly<Record<string, boolean>> | undefined
  /** Access codes of protected channels, by channel. Secrets: shown to nobody, sent to the server alone. */
  readonly accessCodes?: Readonly<Record<string, string>> | undefined
  /** A server of this network that has the release's files. */
  readonly lanMirror?: string | undefined
  /** Bytes a second while the client runs or nobody looks at the page; absent: `limit`. */
  readonly backgroundLimit?: number | undefined
  /** Whether downloads wait while the client runs; default false. */
  readonly pauseWhilePlaying?: boolean | undefined
  /** When updates are downloaded unasked, local time: `01:00-07:00`; absent: always. */
  readonly downloadHours?: string | undefined
  /** Updates that download more bytes than this are asked about first; absent: 1 GB. */
  readonly askAbove?: number | undefined
  /** Whether an update may go file by file where the disk has no room for old and new together; default false. */
  readonly lowSpace?: boolean | undefined
  /** Folders below the install that may be links on this machine; default: none. */
  readonly linkedFolders?: readonly string[] | undefined
  /** Whether the server hears how far updates get: counts by version, without any id; default false. */
  readonly reports?: boolean | undefined
  readonly telemetryUrlTemplate?: string | undefined
  readonly language?: string | undefined
  /** Whether a runtime key that came over Noise is kept, sealed, for offline starts; default true. */
  readonly runtimeKeyCache?: boolean | undefined
  /** Minutes between checks of the daemon; default 60. */
  readonly checkMinutes?: number | undefined
}

const MAX_SETTINGS_BYTES = 64 * 1024
const MAX_CODE_FILE_BYTES = 4096
/** An access code as the server takes it: 8 to 128 printable characters. */
const ACCESS_CODE = /^[\x21-\x7e]{8,128}$/

/**
 * Reads an access code that a person typed or keeps in a file.
 *
 * @throws LauncherError `LA_SETTINGS`.
 */
export function parseAccessCode(text: string): string {
  const code = text.trim()
  if (ACCESS_CODE.test(code)) return code
  throw new LauncherError('LA_SETTINGS', 'Cannot use the access code: expected 8 to 128 printable characters')
}

type Check = (value: unknown) => boolean
const text =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value)
const oneOf =
  (...choices: readonly string[]): Check =>
  (value) =>
    typeof value === 'string' && choices.includes(value)
const texts: Check = (value) =>
  Array.isArray(value) &&
  value.length <= 64 &&
  value.every((entry) => typeof entry === 'string' && entry.length <= 4096)
const isUrl: Check = (value) =>
  typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)

const isChoice: Check = (value) =>
  isRecord(value) &&
  Object.keys(value).length <= 1024 &&
  Object.entries(value).every(([name, chosen]) => /^[a-z0-9-]{1,64}$/.test(name) && typeof chosen === 'boolean')
const isCodes: Check = (value) =>
  isRecord(value) &&
  Object.keys(value).length <= 64 &&
  Object.entries(value).every(
    ([name, code]) => /^[a-z0-9-]{1,64}$/.test(name) && typeof code === 'string' && ACCESS_CODE.test(code),
  )
const isFlag: Check = (value) => typeof value === 'boolean'
const atLeast =
  (least: number): Check =>
  (value) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= least

const checks: Readonly<Record<keyof Settings, Check>> = {
  server: isUrl,
  trust: text(/^(did:keri:|key:).{1,8192}$/s),
  product: text(/^[a-z0-9-]{1,64}$/),
  channel: text(/^[a-z0-9-]{1,64}$/),
  target: oneOf('windows', 'linux', 'macos'),
  program: (value) => texts(value) && (value as string[]).length > 0,
  delivery: oneOf('env', 'fd', 'shared-memory'),
  limit: atLeast(1024),
  groups: texts,
  components: isChoice,
  accessCodes: isCodes,
  lanMirror: isUrl,
  backgroundLimit: atLeast(1024),
  pauseWhilePlaying: isFlag,
  downloadHours: text(/^(?:[01][0-9]|2[0-3]):[0-5][0-9]-(?:[01][0-9]|2[0-3]):[0-5][0-9]$/),
  askAbove: atLeast(0),
  lowSpace: isFlag,
  linkedFolders: (value) => texts(value) && (value as string[]).every((path) => hostSystem.isInside(path)),
  reports: isFlag,
  telemetryUrlTemplate: (value) => value === '' || (typeof value === 'string' && isUrl(value.replaceAll(/[{}]/g, ''))),
  language: oneOf('en', 'de', 'fr', 'es', 'pt-BR', 'it', 'pl', 'cs', 'tr', 'ru', 'uk', 'ja', 'ko', 'zh-Hans'),
  runtimeKeyCache: isFlag,
  checkMinutes: (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= 10_080,
}

/**
 * Reads an access code from a file that holds it alone.
 *
 * @throws LauncherError `LA_SETTINGS` for a file that cannot be read or holds something else.
 */
export async function readAccessCode(path: string, fs: FileSystem = nodeFileSystem): Promise<string> {
  const bytes = await readSmallFile(fs, path, MAX_CODE_FILE_BYTES).catch((cause: unknown) => {
    throw new LauncherError('LA_SETTINGS', `Cannot read the access code in "${path}"`, { cause })
  })
  if (bytes === undefined) throw new LauncherError('LA_SETTINGS', `There is no file "${path}" with an access code`)
  return parseAccessCode(new TextDecoder().decode(bytes))
}

/**
 * Checks settings from outside.
 *
 * @throws LauncherError `LA_SETTINGS` naming the member that is wrong or unknown.
 */
export function parseSettings(value: unknown): Settings {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new LauncherError('LA_SETTINGS', 'Cannot use settings: they are not an object')
  for (const [name, member] of Object.entries(value)) {
    const check = Object.hasOwn(checks, name) ? checks[name as keyof Settings] : undefined
    if (check?.(member) !== true)
      throw new LauncherError(
        'LA_SETTINGS',
        `Cannot use settings: ${JSON.stringify(name.slice(0, 40))} is unknown or malformed`,
      )
  }
  return { ...value } as Settings
}

/** Reads `settings.json`; a missing one is empty. */
export async function readSettings(fs: FileSystem, layout: Layout): Promise<Settings> {
  const bytes = await readSmallFile(fs, layout.settings, MAX_SETTINGS_BYTES).catch((error: unknown) => {
    throw diskError(error, 'read the settings of the install')
  })
  if (bytes === undefined) return {}
  try {
    return parseSettings(parseStrictJson(bytes))
  } catch (cause) {
    if (cause instanceof LauncherError) throw cause
    throw new LauncherError('LA_SETTINGS', `Cannot read "${layout.settings}": it is not JSON`, { cause })
  }
}

/** Writes `settings.json`; a member that is `undefined` is absent. */
export async function writeSettings(fs: FileSystem, layout: Layout, settings: Settings): Promise<void> {
  const set = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))
  const text = `${JSON.stringify(parseSettings(set), null, 2)}\n`
  await writeSmallFile(fs, layout.settings, new TextEncoder().encode(text))
}
