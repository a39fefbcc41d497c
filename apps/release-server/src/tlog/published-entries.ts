import { parseHead, parseHeadEnvelope } from '@keyturn/manifest'
import { formatLogEntry, offerDigest } from '@keyturn/manifest/publish'
import { documentKey, documents } from '../public/documents.ts'
import { channelsOf } from '../releases/channels.ts'
import { releases } from '../releases/releases.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { placeOf } from './log-store.ts'

/** An entry that belongs into the log, and the release that it is about. */
export interface PublishedEntry {
  readonly bytes: Uint8Array
  /** Set for releases: their proofs are stored beside their signatures. */
  readonly release: { readonly channel: string; readonly version: string } | undefined
}

/** Every role document that was in force. */
async function rolesEntries(records: RecordReader, product: string): Promise<PublishedEntry[]> {
  const prefix = documentKey(product, undefined, 'roles/')
  const found = await documents.all(records, { prefix })
  return found
    .map(({ key, value }) => ({ version: Number(/([0-9]+)\.json$/.exec(key)?.[1] ?? '0'), sha256: value.sha256 }))
    .filter(({ version }) => version > 0)
    .toSorted((a, b) => a.version - b.version)
    .map(({ version: number, sha256 }) => ({
      bytes: formatLogEntry({ type: 'roles', product, channel: '-', number, sha256 }),
      release: undefined,
    }))
}

/** Every release that was published, in that order. */
async function releaseEntries(records: RecordReader, product: string): Promise<PublishedEntry[]> {
  const all = await releases.all(records, { prefix: `${product}/` })
  return all
    .map(({ value }) => value)
    .filter(({ state }) => state === 'published')
    .toSorted((a, b) => (a.published_at ?? '').localeCompare(b.published_at ?? '') || a.sequence - b.sequence)
    .map(({ channel, sequence: number, sha256, version }) => ({
      bytes: formatLogEntry({ type: 'release', product, channel, number, sha256 }),
      release: { channel, version },
    }))
}

/** Releases that the channels offer now, to some or to all. */
export async function offeredReleases(
  records: RecordReader,
  product: string,
): Promise<{ readonly channel: string; readonly version: string }[]> {
  const offered: { channel: string; version: string }[] = []
  for (const { channel } of await channelsOf(records, product)) {
    const bytes = await documents.body(records, documentKey(product, channel, 'head.json'))
    if (bytes === undefined) continue
    const { manifest, fallback } = parseHead(parseHeadEnvelope(bytes).payload)
    for (const pin of [manifest, fallback]) if (pin !== undefined) offered.push({ channel, version: pin.version })
  }
  return offered
}

/** What the channels offer now. */
async function offerEntries(records: RecordReader, product: string): Promise<PublishedEntry[]> {
  const entries: PublishedEntry[] = []
  for (const { channel } of await channelsOf(records, product)) {
    const bytes = await documents.body(records, documentKey(product, channel, 'head.json'))
    if (bytes === undefined) continue
    const { payload } = parseHeadEnvelope(bytes)
    const { sequence: number } = parseHead(payload).manifest
    const sha256 = offerDigest(payload)
    entries.push({ bytes: formatLogEntry({ type: 'offer', product, channel, number, sha256 }), release: undefined })
  }
  return entries
}

/**
 * What is published of a product and not in its log yet. It is read from what is stored, never from a queue: whatever
 * stopped the server in between, the next look finds the same.
 */
export async function missingEntries(records: RecordReader, product: string): Promise<PublishedEntry[]> {
  const all = [
    ...(await rolesEntries(records, product)),
    ...(await releaseEntries(records, product)),
    ...(await offerEntries(records, product)),
  ]
  const missing: PublishedEntry[] = []
  for (const entry of all) if ((await placeOf(records, product, entry.bytes)) === undefined) missing.push(entry)
  return missing
}
