import { timestamp } from '../time.ts'
import { parseHead, parseHeadEnvelope, writeHead } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import type { ChannelView, WantedHead } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { documentKey, documents } from '../public/documents.ts'
import { putChannel, readChannel } from './channels.ts'
import { productLock } from './products.ts'
import { publish } from './publication.ts'

/** Signs the payload of a head, or refuses; a process of its own that holds the head key. */
export interface HeadSigner {
  /** @returns The whole envelope, `head.json`; `undefined` when a person has to confirm first. */
  sign(payload: Uint8Array, reason: string): Promise<Uint8Array | undefined>
}

/** A change of the head of a channel. */
export interface HeadChange {
  readonly product: string
  readonly channel: string
  readonly action: WantedHead['action']
  readonly percent: number | null
  readonly reason: string
}

const HEAD_LIFE_MS = 7 * 86_400_000

/** The next head of a channel: everything stays as it was except rollout, sequence and times. */
export function changedHead(
  head: Head,
  change: Pick<HeadChange, 'action' | 'percent'>,
  nowMs: number,
  salt: string,
): Head {
  const rollout = head.rollout ?? { percent: 100, salt, paused: false }
  const percent = change.percent ?? rollout.percent
  const paused = change.action === 'halt' ? true : change.action === 'resume' ? false : rollout.paused
  return {
    ...head,
    sequence: head.sequence + 1,
    issuedAt: timestamp(nowMs),
    expiresAt: timestamp(nowMs + HEAD_LIFE_MS),
    ...(head.fallback === undefined ? {} : { rollout: { ...rollout, percent, paused } }),
  }
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
  const view = await readChannel(context.metadata, product, channel)
  const bytes = await documents.body(context.metadata, documentKey(product, channel, 'head.json'))
  if (view === undefined || view.manifest === null || bytes === undefined)
    throw new ServerError('SRV_NOT_FOUND', 'Nothing is published on this channel')
  const head = parseHead(parseHeadEnvelope(bytes).payload)
  if (head.fallback === undefined)
    throw new ServerError(
      'SRV_CONFLICT',
      'The head names no fallback, so a rollout has nothing to leave the others with: publish a head with a rollout',
    )
  const wanted = await keepRequest(context, view, change, caller)
  if (signer === undefined) return wanted
  const next = changedHead(head, change, context.clock(), hexEncode(context.random(16)))
  const signed = await signer.sign(writeHead(next), change.reason)
  if (signed === undefined) return wanted
  return publish(
    context,
    {
      product,
      channel,
      version: next.manifest.version,
      head: signed,
      ifHeadSequence: head.sequence,
    },
    caller,
  )
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
    const kept: ChannelView = { ...fresh, wanted }
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
