import { parseStrictJson } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'

/** Systems an executable is made for. */
export type PlayerTarget = 'windows' | 'linux'

/**
 * What a studio puts into its launcher, docs/spec/player-launcher.md §2: the asset `player.json` of the executable.
 * Server and pin come from here only; nothing on disk replaces them.
 */
export interface PlayerConfig {
  readonly schema: 1
  /** Name of folders and registry keys: lower-case letters, digits and hyphens. */
  readonly id: string
  /** Name that players read. */
  readonly name: string
  readonly publisher: string
  /** Version of this launcher, three numbers. */
  readonly version: string
  readonly server: string
  /** `did:keri:<prefix>?sn=&said=`, or `key:<hex>`. */
  readonly trust: string
  readonly channel: string
  readonly product?: string | undefined
  /** `#rrggbb`. */
  readonly accent?: string | undefined
  /** Languages of the page, the preferred one first; empty: all. */
  readonly languages: readonly string[]
  /** Whether launchers report counts to the server unless the player says no. */
  readonly telemetry: boolean
  readonly target: PlayerTarget
  /** Major version of the Node inside the executable. */
  readonly nodeMajor: number
}

type Check = (value: JsonValue) => boolean

const text =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value)

const NAME = /^(?! )[^\p{Cc}\p{Cf}\p{Cs}<>:"/\\|?*]{1,64}(?<![ .])$/u

const CHECKS: Readonly<Record<keyof PlayerConfig, Check>> = {
  schema: (value) => value === 1,
  id: text(/^[a-z0-9][a-z0-9-]{0,31}$/),
  name: text(NAME),
  publisher: text(NAME),
  version: text(/^(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){2}$/),
  server: (value) => typeof value === 'string' && isServer(value),
  trust: text(/^(did:keri:|key:)[\x21-\x7e]{1,8192}$/),
  channel: text(/^[a-z0-9-]{1,64}$/),
  product: text(/^[a-z0-9-]{1,64}$/),
  accent: text(/^#[0-9a-fA-F]{6}$/),
  languages: (value) => Array.isArray(value) && value.length <= 64 && value.every(text(/^[a-z]{2}(-[A-Za-z]{2,4})?$/)),
  telemetry: (value) => typeof value === 'boolean',
  target: (value) => value === 'windows' || value === 'linux',
  nodeMajor: (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= 20,
}

const OPTIONAL: ReadonlySet<string> = new Set(['product', 'accent'])

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost'])

/** Whether an address may go into a launcher: https, or plain http to this machine; no credentials. */
export function isServer(address: string): boolean {
  if (!URL.canParse(address)) return false
  const url = new URL(address)
  if (url.username !== '' || url.password !== '') return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.has(url.hostname))
}

/**
 * Names the members that are missing, unknown or malformed.
 *
 * @returns An empty list when the value is a {@link PlayerConfig}.
 */
export function playerConfigFaults(value: JsonObject): readonly string[] {
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(CHECKS, name))
  const wrong = Object.entries(CHECKS).filter(([name, check]) => {
    const member = value[name]
    return member === undefined ? !OPTIONAL.has(name) : !check(member)
  })
  return [...unknown, ...wrong.map(([name]) => name)]
}

/**
 * Parses `player.json`.
 *
 * @throws TypeError naming the members at fault: the executable was altered or built by hand.
 */
export function parsePlayerConfig(bytes: Uint8Array): PlayerConfig {
  const value = parseStrictJson(bytes)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError('player.json is not an object')
  const faults = playerConfigFaults(value)
  if (faults.length > 0) throw new TypeError(`player.json has missing or malformed members: ${faults.join(', ')}`)
  return value as unknown as PlayerConfig
}
