import { timestamp } from '../time.ts'
import { parseHead, parseHeadEnvelope, writeHead } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import type { ChannelView, WantedHead } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { productLock } from './products.ts'
import { publish, putChannel, readChannel } from './publish.ts'
import { documentKey } from '../public/documents.ts'

/** Signs the payload of a head, or says no; a process of its own that holds the head key. */
export interface HeadSigner {
  /** @returns The whole envelope, `head.json`; `undefined` when a person has to say yes first. */
  sign(payload: Uint8Array, reason: string): Promise<Uint8Array | undefined>
}

/** A change of the head of a channel. */
export interface HeadChange {
  readonly action: WantedHead['action']
  readonly percent: number | null
  readonly reason: string
}

const headLifeMs = 7 * 86_400_000

/** The next head of a channel: everything as it was but the rollout, sequence and times. */
export function changedHead(head: Head, change: HeadChange, nowMs: number, salt: string): Head {
  const rollout = head.rollout ?? { percent: 100, salt, paused: false }
  const percent = change.percent ?? rollout.percent
  const paused = change.action === 'halt' ? true : change.action === 'resume' ? false : rollout.paused
  return {
    ...head,
    sequence: head.sequence + 1,
    issuedAt: timestamp(nowMs),
    expiresAt: timestamp(nowMs + headLifeMs),
    ...(head.fallback === undefined ? {} : { rollout: { ...rollout, percent, paused } }),
  }
}

/**
 * Asks for another rollout. With a head signer the changed head is signed and published at once; without one, or when
 * the signer waits for a person, the wish is kept with the channel until a head of the publisher is published.
 *
 * @throws ServerError `SRV_NOT_FOUND`, `SRV_CONFLICT` when the head has no fallback to fall back to.
 */
export async function requestHead(
  context: ServerContext,
  signer: HeadSigner | undefined,
  product: string,
  channel: string,
  change: HeadChange,
  caller: Caller,
): Promise<ChannelView> {
  const view = await readChannel(context.metadata, product, channel)
  const bytes = (await context.metadata.get('documents', documentKey(product, channel, 'head.json')))?.body
  if (view === undefined || view.manifest === null || bytes === undefined)
    throw new ServerError('SRV_NOT_FOUND', 'Nothing is published on this channel')
  const head = parseHead(parseHeadEnvelope(bytes).payload)
  if (head.fallback === undefined)
    throw new ServerError(
      'SRV_CONFLICT',
      'The head names no fallback, so nobody can be kept back: publish one with a rollout',
    )
  const wanted = await keepWish(context, view, change, caller)
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
      signatures: undefined,
      log: undefined,
      roles: undefined,
    },
    caller,
  )
}

async function keepWish(
  context: ServerContext,
  view: ChannelView,
  change: HeadChange,
  caller: Caller,
): Promise<ChannelView> {
  const now = context.clock()
  const wanted: WantedHead = { ...change, asked_by: caller.actor, asked_at: timestamp(now) }
  return context.metadata.transaction([auditLock, productLock(view.product)], async (records) => {
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
