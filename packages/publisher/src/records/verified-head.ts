import type { VerifiedLog } from '@keyturn/kel'
import { limits, ManifestError, parseHeadEnvelope, verifyThreshold } from '@keyturn/manifest'
import { payloadTypes } from '@keyturn/manifest/publish'
import { KeyturnError } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { HomePaths } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { readHeadBytes, readPublishedChannels, readPublishedHead, readWaitingHead } from './heads.ts'
import type { StoredHead } from './heads.ts'
import { otherChannels, readIdentityLog, readReleases, readRoles } from './store.ts'
import type { StoredRoles } from './store.ts'

/** What a home knows about who may sign heads. */
export interface HeadAuthority {
  readonly product: string
  readonly log: VerifiedLog
  /** Every role document that the log seals, oldest first. */
  readonly roles: readonly StoredRoles[]
}

/** Reads what heads are verified with: the log and role documents of the home, never those of a server. */
export async function readHeadAuthority({ paths, description }: HomeSession): Promise<HeadAuthority> {
  const { prefix } = description.identity
  const { log } = await readIdentityLog(paths, prefix)
  return { product: description.product, log, roles: await readRoles(paths, prefix) }
}

/** Where a head comes from. */
type HeadSource = 'home' | 'server'

function misplaced(message: string): ManifestError {
  return new ManifestError('MAN_PIN', `Cannot trust head: ${message}`)
}

/**
 * Verifies that a head was signed by the head role of this publisher, for this product and channel. Its dates do not
 * matter: an expired head still says what was offered last.
 *
 * @param bytes - Literal bytes of `head.json`.
 * @param channel - The channel it has to be of.
 * @param authority - From {@link readHeadAuthority}.
 * @param source - What a server shows has to be signed by the keys in force, as for a launcher. What this home
 *   published itself also counts under the role document it names: its keys may have been rotated since.
 * @throws {@link ManifestError} any `MAN_` code of a head.
 */
export function verifyHead(
  bytes: Uint8Array,
  channel: string,
  { product, log, roles }: HeadAuthority,
  source: HeadSource,
): StoredHead {
  if (bytes.length > limits.headBytes) throw new ManifestError('MAN_LIMIT', 'Cannot read head: it is too long')
  const { payload, signatures } = parseHeadEnvelope(bytes)
  const claimed = readHeadBytes(bytes)
  const { head } = claimed
  const signedUnder = roles.find(({ document }) => document.version === head.rolesVersion)?.document
  const inForce = roles.at(-1)?.document
  if (signedUnder === undefined || inForce === undefined)
    throw misplaced(`the log of this home seals no role document ${head.rolesVersion}`)
  const rule =
    source === 'server'
      ? { ...inForce.roles.head, revokedKeys: inForce.revokedKeys }
      : { ...signedUnder.roles.head, revokedKeys: [] }
  verifyThreshold({ payloadType: payloadTypes.head, bytes: payload, name: 'head' }, signatures, rule)
  if (head.product !== product || head.channel !== channel)
    throw misplaced(`it is for "${head.product}/${head.channel}", expected "${product}/${channel}"`)
  const { sn, said } = head.log
  if (!log.events.some((event) => event.sn === sn && event.said === said && event.type !== 'ixn'))
    throw misplaced(`the log does not hold establishment event ${sn} that it names`)
  return claimed
}

/** The newest head of a channel that is verified: the base of the next one. */
export interface BaseHead extends StoredHead {
  readonly source: HeadSource
}

/** What is known about the head in force on a channel. */
export interface KnownHeads {
  /** The newest verified one; undefined when nothing was ever offered. */
  readonly base: BaseHead | undefined
  /** The one this home published last. */
  readonly own: StoredHead | undefined
  /** The one that the server shows, verified. */
  readonly server: StoredHead | undefined
  /** Why the head that the server shows does not count, in words; undefined when it does, or when there is none. */
  readonly refused: string | undefined
}

function isNewer({ head: a }: StoredHead, { head: b }: StoredHead): boolean {
  return a.epoch === b.epoch ? a.sequence > b.sequence : a.epoch > b.epoch
}

/**
 * Finds the head that a new one follows: the newest of what this home published and what the server shows, each
 * verified with the home's own log and role documents. What a server says without a signature of the head role is never
 * used: it would decide what the head key signs.
 *
 * @param home - Open home.
 * @param channel - The channel.
 * @param client - The server; without it only the home is asked.
 */
export async function readKnownHeads(
  home: HomeSession,
  channel: string,
  client?: ReleaseServerClient,
): Promise<KnownHeads> {
  const authority = await readHeadAuthority(home)
  const stored = await readPublishedHead(home.paths, channel)
  const own = stored && verifyHead(stored.bytes, channel, authority, 'home')
  const shown = client && (await fetchHead(client, authority.product, channel))
  let server: StoredHead | undefined
  let refused: string | undefined
  try {
    server = shown && verifyHead(shown, channel, authority, 'server')
  } catch (error) {
    if (!(error instanceof KeyturnError)) throw error
    refused = error.message
  }
  const base: BaseHead | undefined =
    server !== undefined && (own === undefined || !isNewer(own, server))
      ? { ...server, source: 'server' }
      : own && { ...own, source: 'home' }
  return { base, own, server, refused }
}

async function fetchHead(
  client: ReleaseServerClient,
  product: string,
  channel: string,
): Promise<Uint8Array | undefined> {
  return await client.fetchPublic(`/p/${product}/channels/${channel}/head.json`, { maxBytes: limits.headBytes })
}

/** A channel with releases waits for its first offer; one without is more often a slip. */
async function nothingOffered(paths: HomePaths, channel: string): Promise<string> {
  const has = (await readReleases(paths, channel)).length > 0
  return has ? 'Run "keyturn release offer VERSION"' : await otherChannels(paths, channel)
}

/**
 * The base of the next head, for commands that change what is offered now.
 *
 * @throws {@link PublisherError} `REL_NO_OFFER` when nothing is offered on the channel yet.
 */
export async function requireBase(home: HomeSession, channel: string, client?: ReleaseServerClient): Promise<BaseHead> {
  const { base, refused } = await readKnownHeads(home, channel, client)
  if (base !== undefined) return base
  const waiting = await readWaitingHead(home.paths, channel)
  throw new PublisherError('REL_NO_OFFER', `Nothing is offered on channel "${channel}" yet`, {
    hint:
      refused !== undefined
        ? `The head that the server shows does not count: ${refused}`
        : waiting === undefined
          ? await nothingOffered(home.paths, channel)
          : `Head ${waiting.head.sequence}, which offers ${waiting.head.manifest.version}, waits: run "keyturn ` +
            'release publish"',
  })
}

/**
 * Channels that offer something: those of this home, and those that the server shows with a head that is verified.
 *
 * @param home - Open home.
 * @param client - The server; without it only the home is asked.
 */
export async function readChannelsWithHead(home: HomeSession, client?: ReleaseServerClient): Promise<string[]> {
  const named = new Set(await readPublishedChannels(home.paths))
  const shown = client === undefined ? [] : await client.listChannels(home.description.product).catch(noProduct)
  for (const { channel, head } of shown) if (head !== null) named.add(channel)
  const found: string[] = []
  for (const channel of [...named].toSorted())
    if ((await readKnownHeads(home, channel, client)).base !== undefined) found.push(channel)
  return found
}

/** A server that knows nothing of the product yet shows no channel. */
function noProduct(error: unknown): readonly never[] {
  if (error instanceof KeyturnError && error.code === 'SRV_NOT_FOUND') return []
  throw error
}
