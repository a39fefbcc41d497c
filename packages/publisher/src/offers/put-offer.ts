import type { Head } from '@keyturn/manifest'
import { canonicalJson } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import type { Progress } from '../session.ts'
import { catchUp } from './catch-up.ts'
import { dropWaitingHead, noteHeadPublished, readPublishedHead, readWaitingHead, storeHead } from '../records/heads.ts'
import type { Offer, StoredHead } from '../records/heads.ts'
import { offerOf } from './offer.ts'
import { publishHead } from '../release/publish-release.ts'
import type { PublishOptions, PublishReport } from '../release/publish-release.ts'
import { checkEpoch, signOffer } from '../release/sign-release.ts'
import { adoptSwitched, dueSchedule } from './switch.ts'
import type { DueSchedule } from './switch.ts'
import { rolesInForce } from '../records/store.ts'
import { readKnownHeads, requireBase } from '../records/verified-head.ts'

/** How an offer is put in force. */
export interface PutOfferOptions {
  /**
   * The server that is asked what is offered now, and that gets the new head. Without it the head waits in the home.
   */
  readonly client?: ReleaseServerClient | undefined
  readonly nowMs: number
  readonly signal: AbortSignal
  /** Days the head is valid; default, and at most, what the role document allows. */
  readonly days?: number | undefined
  /** Keys that sign; default: the head key in force. */
  readonly aliases?: readonly string[] | undefined
  /** Lowest sequence the head may get. */
  readonly atLeastSequence?: number | undefined
  /** The head that the channel has to be at, by its sequence; default: whichever. */
  readonly ifHeadSequence?: number | undefined
  /** A draft on the server that has the version or sequence of the release goes; default false. */
  readonly replacesDrafts?: boolean | undefined
  readonly progress?: Progress | undefined
}

/** A head that was signed, and what became of it. */
export interface PutOffer {
  readonly head: StoredHead
  /** What the server got; undefined while the head waits. */
  readonly report: PublishReport | undefined
}

/**
 * Signs an offer as the next head and publishes it; without a server it waits in the home.
 *
 * @param base - The head it follows, from `requireBase` or `readKnownHeads`.
 * @throws {@link PublisherError} those of `signOffer` and `publishHead`.
 */
export async function putOffer(
  home: HomeSession,
  channel: string,
  { offer, base, ...options }: PutOfferOptions & { readonly offer: Offer; readonly base: Head | undefined },
): Promise<PutOffer> {
  const head = await signOffer(home, channel, { offer, base, ...options })
  await storeHead(home.paths, channel, head.bytes)
  return { head, report: await send(home, head, options) }
}

async function send(
  home: HomeSession,
  head: StoredHead,
  { client, signal, progress, ifHeadSequence, replacesDrafts }: PutOfferOptions,
  how: Pick<PublishOptions, 'repeats' | 'needsKey'> = {},
): Promise<PublishReport | undefined> {
  if (client === undefined) return undefined
  return await publishHead(home, client, head, {
    signal,
    ...how,
    ifHeadSequence,
    replacesDrafts,
    progress,
  })
}

const sameOffer = (a: Head, b: Head): boolean =>
  canonicalJson(offerOf(a) as unknown as JsonObject) === canonicalJson(offerOf(b) as unknown as JsonObject)

/** What renewing found. */
export interface RenewedOffer extends PutOffer {
  /** A head for another offer that was signed and never published: it is left as it is. */
  readonly waiting: StoredHead | undefined
  /** What became of a scheduled release. */
  readonly scheduled: DueSchedule['state']
}

/**
 * Repeats what a channel offers now: the same manifest, fallback, rollout with its salt, halt, withdrawals, preload and
 * mirrors; only number and dates are new. Whatever else was prepared or signed, it never picks a release. The one
 * exception was decided before: a scheduled release whose time has come is offered, unless the channel is halted.
 *
 * @throws {@link PublisherError} `REL_NO_OFFER`, `REL_EPOCH`, `REL_HEAD_WAITING` without a server; those of `signOffer`
 *   and `publishHead`.
 */
export async function renewOffer(home: HomeSession, channel: string, options: PutOfferOptions): Promise<RenewedOffer> {
  // A renewed offer is our own from then on: the home keeps the releases that it names.
  if (options.client !== undefined) await catchUp(home, channel, options.client)
  const { head: base } = await requireBase(home, channel, options.client)
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  checkEpoch(base.manifest.version, base.epoch, document)
  const stored = await readWaitingHead(home.paths, channel)
  const due = await dueSchedule(home, base, options.nowMs)
  const opens = due.state === 'switch'
  const offer = due.state === 'switch' ? due.offer : offerOf(base)
  const isOwn = stored !== undefined && [base, { ...base, ...offer }].some((head) => sameOffer(stored.head, head))
  const waiting = isOwn ? undefined : stored
  if (waiting !== undefined && options.client === undefined) throw headWaiting(waiting)
  if (opens) await adoptSwitched(home, base, offer)
  const head = await signOffer(home, channel, { offer, base, ...options })
  if (waiting === undefined) await storeHead(home.paths, channel, head.bytes)
  const how = { repeats: !opens, needsKey: opens }
  return { head, report: await send(home, head, options, how), waiting, scheduled: due.state }
}

function headWaiting({ head: { channel, sequence, manifest } }: StoredHead): PublisherError {
  return new PublisherError(
    'REL_HEAD_WAITING',
    `Head ${sequence} of channel "${channel}", which offers ${manifest.version}, was signed and never published`,
    { hint: 'Publish it, or forget it with "keyturn release drop-head"' },
  )
}

/**
 * The head that `release publish` sends: one that waits, else the one that was published last, for a server that lost
 * it.
 *
 * @throws {@link PublisherError} `REL_NO_OFFER`; `REL_HEAD_STALE` when what waits was overtaken.
 */
export async function headToPublish(home: HomeSession, channel: string): Promise<StoredHead> {
  const waiting = await readWaitingHead(home.paths, channel)
  const published = await readPublishedHead(home.paths, channel)
  const found = waiting ?? published
  if (found === undefined)
    throw new PublisherError('REL_NO_OFFER', `Channel "${channel}" has no head yet`, {
      hint: 'Run "keyturn release offer VERSION"',
    })
  const overtaken =
    waiting !== undefined &&
    published !== undefined &&
    waiting.head.epoch === published.head.epoch &&
    waiting.head.sequence <= published.head.sequence
  if (!overtaken) return found
  const { sequence, manifest } = waiting.head
  throw new PublisherError(
    'REL_HEAD_STALE',
    `Head ${sequence}, which offers ${manifest.version}, was overtaken by head ${published.head.sequence}`,
    { hint: `Run "keyturn release offer ${manifest.version}" again, or "keyturn release drop-head"` },
  )
}

/** What was forgotten, and what the next head follows. */
export interface DroppedHead {
  readonly dropped: Head
  readonly base: Head | undefined
}

/**
 * Forgets a head that launchers never saw: one that waits, else one that the home counts as published although the
 * server shows an earlier one that is verified.
 *
 * @throws {@link PublisherError} `REL_NO_OFFER` when there is no such head.
 */
export async function dropHead(
  home: HomeSession,
  channel: string,
  client: ReleaseServerClient | undefined,
): Promise<DroppedHead> {
  const waiting = await readWaitingHead(home.paths, channel)
  if (waiting !== undefined) {
    await dropWaitingHead(home.paths, channel)
    return { dropped: waiting.head, base: (await readPublishedHead(home.paths, channel))?.head }
  }
  const { own, server } = await readKnownHeads(home, channel, client)
  if (own === undefined || server === undefined || own.head.sequence <= server.head.sequence) {
    throw new PublisherError('REL_NO_OFFER', `Channel "${channel}" has no head that was signed and never published`, {
      hint: 'Run "keyturn release list"',
    })
  }
  await noteHeadPublished(home.paths, channel, server.bytes)
  return { dropped: own.head, base: server.head }
}
