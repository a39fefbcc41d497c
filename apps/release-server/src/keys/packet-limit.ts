import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { keyFiles, packets } from './key-files.ts'

/** Most packets that the relay keeps. Anybody may publish one, so they are few and expire. */
const MAX_PACKETS = 20_000
/** A packet that nobody published again for so long is forgotten: publishers refresh theirs every few hours. */
const LIFE_MS = 7 * 86_400_000
/** How long a count of the packets is used; what is published in between is added to it. */
const COUNT_MS = 60_000

interface Count {
  packets: number
  readonly atMs: number
}

const counts = new WeakMap<ServerContext, Count>()

async function countOf(context: ServerContext): Promise<Count> {
  const known = counts.get(context)
  const now = context.clock()
  if (known !== undefined && now - known.atMs < COUNT_MS && now >= known.atMs) return known
  let found = 0
  for await (const page of packets.pages(context.metadata)) found += page.length
  const fresh = { packets: found, atMs: now }
  counts.set(context, fresh)
  return fresh
}

/**
 * Refuses the packet of an identity that has none here yet, once the relay is full. Identities that published key files
 * on this server always find room.
 *
 * @throws ServerError `SRV_LIMIT`.
 */
export async function refuseTooManyPackets(context: ServerContext, identity: string): Promise<void> {
  const { metadata } = context
  if ((await packets.get(metadata, identity)) !== undefined) return
  const count = await countOf(context)
  count.packets += 1
  if (count.packets <= MAX_PACKETS) return
  const [own] = await keyFiles.list(metadata, { prefix: `${identity}/`, limit: 1 })
  if (own === undefined)
    throw new ServerError('SRV_LIMIT', `The relay keeps at most ${MAX_PACKETS} packets, and it is full`, {
      hint: 'Publish to another relay, or try again when old packets have expired',
    })
}

/** Forgets packets that nobody published again for a week, except of identities with key files here. */
export async function sweepPackets(context: ServerContext): Promise<void> {
  const { metadata } = context
  const oldest = context.clock() - LIFE_MS
  for await (const page of packets.pages(metadata)) {
    const old: string[] = []
    for (const { key } of page.filter(({ value }) => value.last_seen_ms < oldest)) {
      const [own] = await keyFiles.list(metadata, { prefix: `${key}/`, limit: 1 })
      if (own === undefined) old.push(key)
    }
    if (old.length > 0) await metadata.transaction([], (writer) => packets.delete(writer, ...old))
  }
}
