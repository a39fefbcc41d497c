import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRecord, parseStrictJson, printable } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { isMissing, lockFile, writeFileAtomic } from '@keyturn/primitives/node'
import { policyProblem } from './home-policy.ts'
import type { DueKind } from './home-policy.ts'
import type { PublisherHost } from './session.ts'
import { PublisherError } from './errors.ts'

/**
 * Where things are in a home folder (docs/spec/home.md). Only `keystore` and `nextIdentityKey` hold secrets, both
 * sealed; everything else may be shown.
 *
 * ```
 * home.json               what is in force: names of keys, place of the log, product and channel
 * keystore                every secret but one, sealed under the passphrase
 * next-identity.keystore  the pre-rotated identity key alone: move it to another medium
 * identity.cesr           the key event log of the release identity
 * roles/<N>.json          role documents, N = 1, 2, …
 * releases/<version>/     manifest.json, manifest.sigs.json and the tree they were made from
 * heads/<channel>.json    the head last signed for each channel
 * trees/<channel>/<version>/     release trees that were made by a rotation
 * transport/              key records and metadata of the transport identity
 * journals/<name>.json    a rotation that was interrupted, so that it can go on
 * server/                 the storage of `keyturn serve`
 * cache/                  what only saves time: how source files looked when they were packed
 * ```
 */
export interface HomePaths {
  readonly folder: string
  readonly description: string
  readonly lock: string
  readonly keystore: string
  readonly nextIdentityKey: string
  readonly identityLog: string
  readonly roles: string
  readonly releases: string
  readonly trees: string
  readonly heads: string
  /** Notices of keys that ended themselves. */
  readonly kills: string
  readonly transport: string
  readonly journals: string
  readonly server: string
  /** What only saves time; may be deleted. */
  readonly cache: string
}

/** A content key that this home has made. Its secret is in the keystore as `content/<keyId>`. */
export interface HomeContentKey {
  readonly keyId: number
  /** Ed25519 key that archives under it are verified with, hex. */
  readonly verifierPub: string
  /** Key commitment of its archives, hex. */
  readonly commitment: string
  readonly status: 'active' | 'retired' | 'revoked'
  /** ISO 8601. */
  readonly created: string
}

/**
 * The content key and slot of a release that is scheduled. They are not among the keys of the home: nothing else is
 * packed under them, and no other release names them, until the release is offered. An entry stays when a schedule is
 * cancelled, so that its numbers are never used again.
 */
export interface SealedKey extends Omit<HomeContentKey, 'status'> {
  /** Slot of what is new in the release. */
  readonly slot: number
  readonly channel: string
  readonly version: string
  /** When it is to be offered, `YYYY-MM-DDTHH:MM:SSZ`; absent once the schedule was cancelled. */
  readonly at?: string | undefined
}

/** What is in force in a home: public names only. Written whole, last, so that it never names what is not there yet. */
export interface HomeDescription {
  readonly format: 'keyturn-home'
  readonly version: 1
  readonly product: string
  readonly channel: string
  /** Address of the release server, if one is used. */
  readonly server?: string
  /** ISO 8601. */
  readonly created: string
  readonly identity: {
    readonly prefix: string
    /** Keystore alias of the current key. */
    readonly alias: string
    /** Alias of the pre-rotated key, inside the file of its own. */
    readonly nextAlias: string
    /** That file; relative to the home unless absolute. */
    readonly nextKeyFile: string
  }
  /** Keystore aliases of the keys that sign from day to day. */
  readonly aliases: {
    readonly release: string
    readonly head: string
    readonly archiveSigning: string
    readonly transportIdentity: string
  }
  /** Every content key, oldest first; the last active one is in force. */
  readonly contentKeys: readonly HomeContentKey[]
  /** When the key of an alias came into force, ISO 8601; content keys have their own. */
  readonly since?: Readonly<Record<string, string>>
  /** Days after which keys are due, where the owner wants other than the defaults. */
  readonly policy?: Readonly<Partial<Record<DueKind, number>>>
  /** Every slot number that was ever made; secrets are in the keystore as `slot/<number>`. */
  readonly slots: readonly number[]
  /** Keys of releases that are scheduled, or were; oldest first. */
  readonly sealedKeys?: readonly SealedKey[] | undefined
  /** Present in a home for CI: it holds no identity key, and takes what it lacks from the server. */
  readonly bundle?: HomeBundle
}

/** What a home for CI holds. */
export interface HomeBundle {
  /** ISO 8601. */
  readonly made: string
  /** Roles whose keys it has: `release`, `head`. */
  readonly roles: readonly string[]
}

/** Names of secrets in the keystore. `n` counts from 1 and is never used again. */
export const keyAlias = {
  identity: (n: number) => `identity/${n}`,
  release: (n: number) => `release/${n}`,
  head: (n: number) => `head/${n}`,
  archiveSigning: (n: number) => `archive-signing/${n}`,
  transportIdentity: (n: number) => `transport-identity/${n}`,
  content: (keyId: number) => `content/${keyId}`,
  slot: (slot: number) => `slot/${slot}`,
  /** What opens the vault of `keyturn serve`. */
  serverVault: (n: number) => `server-vault/${n}`,
} as const

/**
 * The alias that follows: `release/1` → `release/2`.
 *
 * @param alias - An alias that ends in a number.
 */
export function followingAlias(alias: string): string {
  const match = /^(.+)\/(\d+)$/.exec(alias)
  if (match?.[1] === undefined) throw new TypeError(`Alias "${alias}" does not end in a number`)
  return `${match[1]}/${Number(match[2]) + 1}`
}

/**
 * The paths of a home folder.
 *
 * @param folder - The home.
 */
export function homePaths(folder: string): HomePaths {
  return {
    folder,
    description: join(folder, 'home.json'),
    lock: join(folder, 'lock'),
    keystore: join(folder, 'keystore'),
    nextIdentityKey: join(folder, 'next-identity.keystore'),
    identityLog: join(folder, 'identity.cesr'),
    roles: join(folder, 'roles'),
    releases: join(folder, 'releases'),
    trees: join(folder, 'trees'),
    heads: join(folder, 'heads'),
    kills: join(folder, 'kills.json'),
    transport: join(folder, 'transport'),
    journals: join(folder, 'journals'),
    server: join(folder, 'server'),
    cache: join(folder, 'cache'),
  }
}

const RESTORE = 'Run "keyturn restore FILE" with the last backup, into another folder'

/**
 * Reads what is in force in a home.
 *
 * @param folder - The home.
 * @throws {@link PublisherError} `CLI_HOME_MISSING`, `CLI_HOME_FORMAT`.
 */
export async function readHome(folder: string): Promise<HomeDescription> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(homePaths(folder).description)
  } catch (cause) {
    if (!isMissing(cause)) throw cause
    throw new PublisherError('CLI_HOME_MISSING', `No keys in "${folder}"`, {
      hint: 'If you had keys, bring them back with "keyturn restore FILE"; to begin, run "keyturn init"; or give --home',
      cause,
    })
  }
  let value: JsonValue
  try {
    value = parseStrictJson(bytes, { maxBytes: 1024 * 1024 })
  } catch (cause) {
    throw new PublisherError('CLI_HOME_FORMAT', `"${homePaths(folder).description}" is not strict JSON`, {
      hint: RESTORE,
      cause,
    })
  }
  if (!isDescription(value)) {
    throw new PublisherError(
      'CLI_HOME_FORMAT',
      `"${homePaths(folder).description}" is not a home description of version 1`,
      { hint: RESTORE },
    )
  }
  const problem = policyProblem(value.policy)
  if (problem !== undefined)
    throw new PublisherError(
      'CLI_HOME_FORMAT',
      `Cannot use "${homePaths(folder).description}": ${printable(problem)}`,
      {
        hint: 'Change that number, or remove it: the default is used',
      },
    )
  return value
}

/**
 * Writes what is in force, whole or not at all.
 *
 * @param folder - The home.
 * @param description - What it becomes.
 */
export async function writeHome(folder: string, description: HomeDescription): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(description, null, 2)}\n`)
  await writeFileAtomic(homePaths(folder).description, bytes, { mode: 0o600 })
}

/** Commands that hold the lock of their home: one that runs several rotations takes it once. */
const holders = new WeakSet<PublisherHost>()

/**
 * Keeps other commands from changing the same home until this one is over; asking again does nothing.
 *
 * @param host - The command.
 * @throws `PRIM_LOCKED` when another command is at it.
 */
export async function lockHome(host: PublisherHost): Promise<void> {
  if (holders.has(host)) return
  await mkdir(host.homeFolder, { recursive: true, mode: 0o700 })
  const lock = await lockFile(homePaths(host.homeFolder).lock)
  holders.add(host)
  host.defer(async () => {
    holders.delete(host)
    await lock.release()
  })
}

/** The content key in force. */
export function activeContentKey(description: HomeDescription): HomeContentKey {
  const active = description.contentKeys.findLast((key) => key.status === 'active')
  if (active === undefined)
    throw new PublisherError('CLI_TURN_UNREADY', 'No content key is active', { hint: 'Run "keyturn rotate content"' })
  return active
}

/** The next number for a content key: no key, not even one of a cancelled schedule, gets it again. */
export function nextKeyId({ contentKeys, sealedKeys = [] }: HomeDescription): number {
  return Math.max(0, ...[...contentKeys, ...sealedKeys].map(({ keyId }) => keyId)) + 1
}

/** The next number for a slot. */
export function nextSlot({ slots, sealedKeys = [] }: HomeDescription): number {
  return Math.max(0, ...slots, ...sealedKeys.map(({ slot }) => slot)) + 1
}

function isDescription(value: unknown): value is HomeDescription {
  if (!isRecord(value) || value['format'] !== 'keyturn-home' || value['version'] !== 1) return false
  const { identity, aliases, contentKeys, slots } = value
  return (
    strings(value, ['product', 'channel', 'created']) &&
    (value['server'] === undefined || typeof value['server'] === 'string') &&
    isRecord(identity) &&
    strings(identity, ['prefix', 'alias', 'nextAlias', 'nextKeyFile']) &&
    isRecord(aliases) &&
    strings(aliases, ['release', 'head', 'archiveSigning', 'transportIdentity']) &&
    (value['since'] === undefined ||
      (isRecord(value['since']) && strings(value['since'], Object.keys(value['since'])))) &&
    (value['bundle'] === undefined || isBundle(value['bundle'])) &&
    Array.isArray(slots) &&
    slots.every((slot) => Number.isSafeInteger(slot)) &&
    Array.isArray(contentKeys) &&
    contentKeys.every(isContentKey) &&
    (value['sealedKeys'] === undefined ||
      (Array.isArray(value['sealedKeys']) && value['sealedKeys'].every(isSealedKey)))
  )
}

function isBundle(value: unknown): boolean {
  return (
    isRecord(value) &&
    strings(value, ['made']) &&
    Array.isArray(value['roles']) &&
    value['roles'].every((role) => role === 'release' || role === 'head')
  )
}

function isContentKey(value: unknown): boolean {
  return (
    isRecord(value) &&
    Number.isSafeInteger(value['keyId']) &&
    strings(value, ['verifierPub', 'commitment', 'created']) &&
    (value['status'] === 'active' || value['status'] === 'retired' || value['status'] === 'revoked')
  )
}

function isSealedKey(value: unknown): boolean {
  return (
    isRecord(value) &&
    Number.isSafeInteger(value['keyId']) &&
    Number.isSafeInteger(value['slot']) &&
    strings(value, ['verifierPub', 'commitment', 'created', 'channel', 'version']) &&
    (value['at'] === undefined || typeof value['at'] === 'string')
  )
}

function strings(record: Record<string, unknown>, keys: readonly string[]): boolean {
  return keys.every((key) => typeof record[key] === 'string')
}
