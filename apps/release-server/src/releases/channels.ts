import type { Head, ManifestPin } from '@keyturn/manifest'
import type { ChannelView, ManifestPointer, PreloadPointer, WantedHead } from '@keyturn/release-client'
import { collection } from '../storage/collection.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { flag, nullable, object, oneOf, optional, preset, text, whole } from '../storage/shape.ts'
import { timestamp } from '../time.ts'

const pointer = object<ManifestPointer>({ version: text, sequence: whole, sha256: text, length: whole })

/** Channels by `<product>/<channel>`. */
export const channels = collection(
  'channels',
  object<ChannelView>({
    product: text,
    channel: text,
    manifest: nullable(pointer),
    head: nullable(
      object<NonNullable<ChannelView['head']>>({ sequence: whole, sha256: text, issued_at: text, expires_at: text }),
    ),
    fallback: nullable(pointer),
    rollout: nullable(object<NonNullable<ChannelView['rollout']>>({ percent: whole, salt: text, paused: flag })),
    preload: preset(
      nullable(object<PreloadPointer>({ version: text, sequence: whole, sha256: text, length: whole, at: text })),
      null,
    ),
    wanted: nullable(
      object<WantedHead>({
        action: oneOf('halt', 'resume', 'rollout'),
        percent: nullable(whole),
        reason: text,
        asked_by: text,
        asked_at: text,
      }),
    ),
    updated_at: nullable(text),
    before: optional(nullable(pointer)),
  }),
)

/** Reads a channel; `undefined` when nothing was ever published or asked for on it. */
export function readChannel(records: RecordReader, product: string, channel: string): Promise<ChannelView | undefined> {
  return channels.get(records, `${product}/${channel}`)
}

/** Stores a channel. */
export async function putChannel(records: RecordWriter, view: ChannelView): Promise<void> {
  await channels.put(records, { key: `${view.product}/${view.channel}`, value: view })
}

/** Channels of a product. */
export async function channelsOf(records: RecordReader, product: string): Promise<ChannelView[]> {
  return (await channels.all(records, { prefix: `${product}/` })).map(({ value }) => value)
}

function pointerTo({ version, sequence, sha256, length }: ManifestPin): ManifestPointer {
  return { version, sequence, sha256, length }
}

/** The release that everybody had before the one that a head offers. */
function beforeOf(head: Head, earlier: ChannelView | undefined): ManifestPointer | null {
  if (head.fallback !== undefined) return pointerTo(head.fallback)
  if (earlier === undefined || earlier.manifest === null) return null
  const { manifest, fallback, rollout, before = null } = earlier
  const toAll = rollout === null ? manifest : (fallback ?? before)
  return toAll?.sha256 === head.manifest.sha256 ? before : toAll
}

/**
 * A halt that waits goes on waiting when a head only repeats the offer: a renewal by a timer decides nothing about what
 * a person asked for.
 */
function stillWanted(head: Head, earlier: ChannelView | undefined): WantedHead | null {
  if (earlier?.wanted?.action !== 'halt' || earlier.manifest?.sha256 !== head.manifest.sha256) return null
  const { rollout = null } = head
  const isSame = rollout?.percent === earlier.rollout?.percent && rollout?.paused === earlier.rollout?.paused
  return isSame ? earlier.wanted : null
}

/** A channel whose head was accepted just now; `earlier` is what it was before. */
export function channelAt(
  earlier: ChannelView | undefined,
  head: Head,
  headSha256: string,
  nowMs: number,
): ChannelView {
  return {
    product: head.product,
    channel: head.channel,
    manifest: pointerTo(head.manifest),
    head: { sequence: head.sequence, sha256: headSha256, issued_at: head.issuedAt, expires_at: head.expiresAt },
    fallback: head.fallback === undefined ? null : pointerTo(head.fallback),
    rollout: head.rollout === undefined ? null : { ...head.rollout },
    preload: head.preload === undefined ? null : { ...pointerTo(head.preload), at: head.preload.at },
    wanted: stillWanted(head, earlier),
    updated_at: timestamp(nowMs),
    before: beforeOf(head, earlier),
  }
}
