import { timestamp } from '../time.ts'
import { isWithdrawn, parseHead, parseHeadEnvelope } from '@keyturn/manifest'
import { writeHead } from '@keyturn/manifest/publish'
import type { Head } from '@keyturn/manifest'
import { sha256Hex } from '@keyturn/primitives'
import type { ChannelView, WantedHead } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { documentKey, documents } from '../public/documents.ts'
import { putChannel, readChannel } from './channels.ts'
import { productLock } from './products.ts'
import { publish } from './publication.ts'

/** Signs the payload of a head, or refuses; it holds the head key, and is usually a process of its own. */
export interface HeadSigner {
  /** @returns The whole envelope, `head.json`; `undefined` when a person has to confirm first. */
  sign(payload: Uint8Array, reason: string): Promise<Uint8Array | undefined>
  /** Looks at what a channel offers, so that it counts as offered later. */
  watch?(product: string, channel: string): Promise<void>
  /** Whether the signer can be reached now; one that cannot say is taken as reachable. */
  connected?(): Promise<boolean>
}

/** A change of the head of a channel. */
export interface HeadChange {
  readonly product: string
  readonly channel: string
  readonly action: WantedHead['action']
  readonly percent: number | null
  readonly reason: string
}

/** Members that no two heads share. A head lasts as long as the one before it: the publisher chose that. */
function following(head: Head, nowMs: number): Pick<Head, 'sequence' | 'issuedAt' | 'expiresAt'> {
  const lifeMs = Date.parse(head.expiresAt) - Date.parse(head.issuedAt)
  return { sequence: head.sequence + 1, issuedAt: timestamp(nowMs), expiresAt: timestamp(nowMs + lifeMs) }
}

/** The same offer with a new date. */
export function renewedHead(head: Head, nowMs: number): Head {
  return { ...head, ...following(head, nowMs) }
}

/**
 * The salt of a rollout that begins with a head. The same head gives the same salt: a signer that signed for a server
 * that died before it published signs nothing else at that number, so the next request has to ask for the same bytes.
 */
function saltAfter(head: Head): string {
  return sha256Hex(writeHead(head)).slice(0, 32)
}

/** The next head of a channel: everything stays as it was except rollout, sequence and times. */
export function changedHead(head: Head, change: Pick<HeadChange, 'action' | 'percent'>, nowMs: number): Head {
  const rollout = head.rollout ?? { percent: 100, salt: saltAfter(head), paused: false }
  const percent = change.percent ?? rollout.percent
  const paused = change.action === 'halt' ? true : change.action === 'resume' ? false : rollout.paused
  return {
    ...renewedHead(head, nowMs),
    ...(head.fallback === undefined ? {} : { rollout: { ...rollout, percent, paused } }),
  }
}

/** The head in force on a channel. */
export interface CurrentHead {
  readonly view: ChannelView
  readonly head: Head
}

/**
 * Reads what a channel offers.
 *
 * @throws ServerError `SRV_NOT_FOUND` when nothing is published on it.
 */
export async function readCurrentHead(context: ServerContext, product: string, channel: string): Promise<CurrentHead> {
  const view = await readChannel(context.metadata, product, channel)
  const bytes = await documents.body(context.metadata, documentKey(product, channel, 'head.json'))
  if (view === undefined || view.manifest === null || bytes === undefined)
    throw new ServerError('SRV_NOT_FOUND', 'Nothing is published on this channel')
  return { view, head: parseHead(parseHeadEnvelope(bytes).payload) }
}

/**
 * Gives the head a fallback where it has none: the release that everybody had before. Without it, nobody could be kept
 * from the release on offer.
 *
 * @throws ServerError `SRV_CONFLICT` when there was none before.
 */
function withFallback({ view, head }: CurrentHead): Head {
  if (head.fallback !== undefined) return head
  const { before } = view
  if (before === undefined || before === null || isWithdrawn(head, before))
    throw new ServerError(
      'SRV_CONFLICT',
      'No release was offered to everybody before this one, so a halt has nothing to leave players ' +
        'with: publish a fixed release',
    )
  return { ...head, fallback: { ...before } }
}

/**
 * Asks for another rollout. With a head signer the changed head is signed and published at once; without one, or when
 * the signer waits for a person, the request is stored with the channel until the publisher publishes a head.
 *
 * @throws ServerError `SRV_NOT_FOUND`, `SRV_CONFLICT` when the head has no fallback.
 */
export async function requestHead(
  context: ServerContext,
  signer: HeadSigner | undefined,
  change: HeadChange,
  caller: Caller,
): Promise<ChannelView> {
  const { product, channel } = change
  const current = await readCurrentHead(context, product, channel)
  const head = withFallback(current)
  const wanted = await keepRequest(context, current.view, change, caller)
  // Nothing was halted yet, and to resume ended the request. A signer that is away is as none: the request waits.
  if (wanted.wanted === null || signer === undefined || (await signer.connected?.()) === false) return wanted
  const next = changedHead(head, change, context.clock())
  return (await signAndPublish(context, signer, next, { reason: change.reason, caller })) ?? wanted
}

/**
 * Has a head signed and publishes it.
 *
 * @returns `undefined` when a person has to confirm first.
 */
async function signAndPublish(
  context: ServerContext,
  signer: HeadSigner,
  next: Head,
  { reason, caller }: { readonly reason: string; readonly caller: Caller },
): Promise<ChannelView | undefined> {
  const head = await signer.sign(writeHead(next), reason)
  if (head === undefined) return undefined
  const { product, channel, manifest, sequence } = next
  return publish(context, { product, channel, version: manifest.version, head, ifHeadSequence: sequence - 1 }, caller)
}

/**
 * Has the halt that waits on a channel signed and published. Only a halt is made up for: the request was kept by the
 * server, and what a server keeps may take from players what they would get, never give them more.
 *
 * @returns The channel; `undefined` when no halt waits, or when a person has to confirm first.
 * @throws ServerError `SRV_NOT_FOUND`, `SRV_CONFLICT`, `SRV_HEAD_NEEDED`; whatever refuses the head.
 */
export async function makeWaitingHalt(
  context: ServerContext,
  signer: HeadSigner,
  { product, channel }: { readonly product: string; readonly channel: string },
  caller: Caller,
): Promise<ChannelView | undefined> {
  const current = await readCurrentHead(context, product, channel)
  const { wanted, rollout } = current.view
  if (wanted?.action !== 'halt') return undefined
  const share = rollout?.percent ?? 100
  const percent = wanted.percent === null ? null : Math.min(wanted.percent, share)
  const next = changedHead(withFallback(current), { action: 'halt', percent }, context.clock())
  return signAndPublish(context, signer, next, { reason: wanted.reason, caller })
}

/**
 * Repeats what a channel offers with a new date.
 *
 * @returns The channel; `undefined` when a person has to confirm first.
 * @throws ServerError `SRV_NOT_FOUND`, `SRV_HEAD_NEEDED`; whatever refuses the head.
 */
export async function renewHead(
  context: ServerContext,
  signer: HeadSigner,
  { product, channel }: { readonly product: string; readonly channel: string },
  caller: Caller,
): Promise<ChannelView | undefined> {
  const { head } = await readCurrentHead(context, product, channel)
  return signAndPublish(context, signer, renewedHead(head, context.clock()), { reason: 'renewal', caller })
}

async function keepRequest(
  context: ServerContext,
  view: ChannelView,
  change: HeadChange,
  caller: Caller,
): Promise<ChannelView> {
  const now = context.clock()
  const { action, percent, reason } = change
  const wanted: WantedHead = { action, percent, reason, asked_by: caller.actor, asked_at: timestamp(now) }
  return context.metadata.transaction([AUDIT_LOCK, productLock(view.product)], async (records) => {
    const fresh = (await readChannel(records, view.product, view.channel)) ?? view
    const endsWaiting = action === 'resume' && percent === null && fresh.wanted?.action === 'halt'
    const isHalted = fresh.rollout?.paused === true
    const kept: ChannelView = { ...fresh, wanted: endsWaiting && !isHalted ? null : wanted }
    await putChannel(records, kept)
    await appendAudit(records, now, {
      ...caller,
      action: `channel.${change.action}`,
      target: `${view.product}/${view.channel}`,
      facts: { percent: change.percent, reason: change.reason },
    })
    return kept
  })
}
