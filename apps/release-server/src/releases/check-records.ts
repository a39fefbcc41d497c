import { createHash } from 'node:crypto'
import type { AuditEntry, ChannelView } from '@keyturn/release-client'
import { parseManifest, parseTrustState } from '@keyturn/manifest'
import { readKills } from '@keyturn/manifest/kill'
import { collectBytes, equalBytes, sha256Hex } from '@keyturn/primitives'
import { auditEntries, verifyStoredAudit } from '../audit/audit.ts'
import { ServerError } from '../errors.ts'
import { MAX_MANIFEST_BYTES } from '../limits.ts'
import { channelAccess } from '../public/channel-access.ts'
import { documentKey, documents } from '../public/documents.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { MetadataStore, RecordReader } from '../storage/metadata-store.ts'
import { blobs } from '../uploads/blobs.ts'
import { channels } from './channels.ts'
import { products } from './products.ts'
import { releaseNotes } from './release-notes.ts'
import { blobsOf, releases, signatureRecords } from './releases.ts'
import { killsOf, rolesName, trustStates } from './trust.ts'

/** One thing that is damaged in the stores of a server. */
export interface StoreDamage {
  /** `records`: only a backup has them. `blobs`: the publisher has them. */
  readonly part: 'records' | 'blobs'
  readonly message: string
}

/** How the stores are looked at. */
export interface LookOptions {
  /** Read and hash every blob; otherwise only its size is compared. */
  readonly deep: boolean
  readonly signal?: AbortSignal | undefined
}

/**
 * Looks for damage in the stores and changes nothing: documents against their hashes, records against each other and
 * against what the audit log says was done, blobs against their records.
 */
export async function findStoreDamage(
  { metadata, blobs: store }: { readonly metadata: MetadataStore; readonly blobs: BlobStore },
  options: LookOptions,
): Promise<StoreDamage[]> {
  const found: StoreDamage[] = []
  const looks = [findUnreadable, findDocuments, findMissing, findUndone]
  for (const look of looks) {
    options.signal?.throwIfAborted()
    const messages = await look(metadata).catch((error: unknown) => [messageOf(error)])
    found.push(...messages.map((message) => ({ part: 'records', message }) as const))
  }
  const lacking = await findBlobs(metadata, store, options).catch((error: unknown) => [messageOf(error)])
  return [...found, ...lacking.map((message) => ({ part: 'blobs', message }) as const)]
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Every record is JSON; those that decide what players get have their shape, and the audit log is a chain. */
async function findUnreadable(records: MetadataStore): Promise<string[]> {
  const found: string[] = []
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    await work().catch((error: unknown) => void found.push(messageOf(error)))
  }
  for (const name of await records.collections())
    await attempt(async () => {
      for (let after: string | undefined; ;) {
        const page = await records.list(name, { after, limit: 1000 })
        if (page.length < 1000) return
        after = page.at(-1)?.key
      }
    })
  for (const kind of [products, channels, releases, channelAccess, blobs]) await attempt(() => kind.all(records))
  for (const { key, value, body = new Uint8Array() } of await trustStates.all(records, { bodies: true })) {
    await attempt(async () => parseTrustState(body))
    if (value.sha256 !== undefined && value.sha256 !== sha256Hex(body))
      found.push(`The trust state of ${key} is not what was stored`)
  }
  await attempt(() => verifyStoredAudit(records))
  return found
}

async function findDocuments(records: MetadataStore): Promise<string[]> {
  const found: string[] = []
  for await (const page of documents.pages(records, { bodies: true, limit: 100 }))
    for (const { key, value, body } of page) {
      const isThere = body ?? undefined
      if (isThere === undefined && (await blobs.get(records, value.sha256)) !== undefined) continue
      if (isThere === undefined) found.push(`Document ${key} has no bytes`)
      else if (sha256Hex(isThere) !== value.sha256) found.push(`Document ${key} is not what was stored`)
    }
  return found
}

/** What a product, a channel and a release need, by their records. */
async function findMissing(records: MetadataStore): Promise<string[]> {
  const found: string[] = []
  const need = async (key: string): Promise<void> => {
    if ((await documents.get(records, key)) === undefined) found.push(`Document ${key} is missing`)
  }
  for (const { value } of await channels.all(records)) {
    const { product, channel, head } = value
    if (head === null) continue
    const at = (name: string): string => documentKey(product, channel, name)
    for (const name of ['head.json', 'manifest.json', 'manifest.sigs.json']) await need(at(name))
    found.push(...(await findPins(records, value)))
    const trust = await trustStates.body(records, product)
    if (trust === undefined) found.push(`The trust state of ${product} is missing`)
    else if (parseTrustState(trust).channels[channel]?.headSha256 !== head.sha256)
      found.push(`The trust state of ${product} names another head of ${channel}`)
  }
  for (const { key, value } of await releases.all(records)) {
    if (value.state !== 'published') continue
    const at = (name: string): string => documentKey(value.product, value.channel, `manifests/${value.version}${name}`)
    for (const name of ['.json', '.sigs.json']) await need(at(name))
    const signatures = await signatureRecords.body(records, key)
    const shown = await documents.body(records, at('.sigs.json'))
    if (signatures === undefined) found.push(`The signatures of ${key} are missing`)
    else if (shown !== undefined && !equalBytes(signatures, shown))
      found.push(`The signatures of ${key} are not those shown`)
  }
  return found
}

async function findPins(records: RecordReader, view: ChannelView): Promise<string[]> {
  const prefix = `${view.product}/${view.channel}/`
  const known = new Set((await releases.all(records, { prefix })).map(({ value }) => value.sha256))
  return [view.manifest, view.fallback, view.preload].flatMap((pin) =>
    pin === null || known.has(pin.sha256) ? [] : [`Release ${prefix}${pin.version}, which is offered, is missing`],
  )
}

/** What is stored, for each action of the audit log after which something has to be. */
async function findUndone(records: MetadataStore): Promise<string[]> {
  const last = new Map<string, AuditEntry>()
  const kills: AuditEntry[] = []
  const published = new Set<string>()
  const noted = new Map<string, number>()
  for (const { value } of await auditEntries.all(records)) {
    const { action, target, facts } = value
    if (action === 'key.kill') kills.push(value)
    if (action === 'channel.publish') published.add(`${target}/${String(facts['version'])}`)
    if (action === 'release.note') noted.set(target, (noted.get(target) ?? 0) + 1)
    last.set(`${subjectOf(action)} ${target}`, value)
  }
  const found = [...(await findHistory(records, published)), ...(await findNotes(records, noted))]
  for (const { action, target, facts } of last.values()) {
    const isThere = await isStored(records, action, target, facts)
    if (isThere === false) found.push(`What "${action}" did to ${target} is not stored`)
  }
  for (const { target, facts } of kills) {
    const shown = await killsOf(records, target)
    const keys = shown === undefined ? [] : readKills(shown).map(({ notice }) => notice.key)
    if (!keys.includes(String(facts['key']))) found.push(`The notice that ended a key of ${target} is missing`)
  }
  return found
}

/** Releases that were published stay recorded, also when their files are not kept any more. */
async function findHistory(records: RecordReader, published: ReadonlySet<string>): Promise<string[]> {
  const known = new Set(
    (await releases.all(records)).map(({ value }) => `${value.product}/${value.channel}/${value.version}`),
  )
  return [...published].filter((name) => !known.has(name)).map((name) => `Release ${name} is missing`)
}

async function findNotes(records: RecordReader, noted: ReadonlyMap<string, number>): Promise<string[]> {
  const found: string[] = []
  for (const [target, count] of noted)
    if ((await releaseNotes.all(records, { prefix: `${target}/` })).length < count)
      found.push(`A note about release ${target} is missing`)
  return found
}

/** Actions about one thing, of which the last one says what is stored. */
const SUBJECTS: Readonly<Record<string, string>> = {
  'channel.protect': 'access',
  'channel.open': 'access',
  'channel.publish': 'head',
  'channel.auto-halt': 'auto-halt',
}

function subjectOf(action: string): string {
  return SUBJECTS[action] ?? action.split('.')[0] ?? ''
}

/** A rule ends with its release: until then it is stored. */
async function hasRule(
  records: RecordReader,
  target: string,
  facts: AuditEntry['facts'],
): Promise<boolean | undefined> {
  const { percent, version } = facts
  if ((await channels.get(records, target))?.manifest?.version !== version) return undefined
  return ((await records.get('auto-halts', target)) === undefined) === (percent === null)
}

/** Undefined: the audit log does not say. */
async function isStored(
  records: MetadataStore,
  action: string,
  target: string,
  facts: AuditEntry['facts'],
): Promise<boolean | undefined> {
  switch (action) {
    case 'product.create':
      return (await products.get(records, target)) !== undefined
    case 'channel.publish':
      return (await channels.get(records, target))?.head?.sequence === facts['head_sequence']
    case 'channel.protect':
      return (await channelAccess.get(records, target)) !== undefined
    case 'channel.open':
      return (await channelAccess.get(records, target)) === undefined
    case 'channel.auto-halt':
      return hasRule(records, target, facts)
    case 'webhook.create':
    case 'webhook.turn':
    case 'webhook.pause':
    case 'webhook.resume':
      return (await records.get('webhooks', target)) !== undefined
    case 'webhook.delete':
      return (await records.get('webhooks', target)) === undefined
    case 'token.create':
    case 'token.revoke':
      return (await records.get('tokens', target)) !== undefined
    case 'log.replace': {
      const names = await documents.all(records, { prefix: `${target}/` })
      // Not their number: a log that was accepted first may have sealed several before.
      const roles = documentKey(target, undefined, rolesName(Number(facts['roles'])))
      return names.some(({ key }) => key === roles) && names.some(({ key }) => key.startsWith(`${target}/kel/`))
    }
    default:
      return undefined
  }
}

async function findBlobs(records: MetadataStore, store: BlobStore, options: LookOptions): Promise<string[]> {
  const found: string[] = []
  for await (const page of blobs.pages(records))
    for (const { key, value } of page) {
      options.signal?.throwIfAborted()
      if (value.going === true) continue
      const stored = await store.stat(key)
      if (stored === undefined) found.push(`Blob ${key} is missing`)
      else if (stored.size !== value.size || (options.deep && !(await hasHash(store, key))))
        found.push(`Blob ${key} is damaged`)
    }
  return [...found, ...(await findUnrecorded(records, store))]
}

/** Blobs of releases that are kept, and that the server has no record of: it would refuse to deliver them. */
async function findUnrecorded(records: MetadataStore, store: BlobStore): Promise<string[]> {
  const found: string[] = []
  const sealed = new Set((await channels.all(records)).map(({ value }) => value.preload?.sha256))
  for (const { value } of await releases.all(records)) {
    const { product, channel, version, sha256, state } = value
    if (state !== 'published' && !sealed.has(sha256)) continue
    const key = documentKey(product, channel, `manifests/${version}.json`)
    const inline = await documents.body(records, key)
    const bytes = inline ?? (await collectBytes(await store.read(sha256), MAX_MANIFEST_BYTES, tooLong))
    const needed = [sha256, ...blobsOf(parseManifest(bytes), sealed.has(sha256))]
    const known = new Set((await blobs.getMany(records, needed)).map((entry) => entry.key))
    const lost = needed.filter((hash) => !known.has(hash))
    found.push(...lost.map((hash) => `Blob ${hash}, which release ${version} of ${channel} needs, is not recorded`))
  }
  return found
}

async function hasHash(store: BlobStore, sha256: string): Promise<boolean> {
  const hash = createHash('sha256')
  for await (const part of await store.read(sha256)) hash.update(part)
  return hash.digest('hex') === sha256
}

const tooLong = (): ServerError => new ServerError('SRV_STORAGE', 'A manifest is longer than manifests can be')
