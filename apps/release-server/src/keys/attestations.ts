import { timestamp } from '../time.ts'
import { compareLogs, parseDidKey, parsePin, verifyLog, verifyStatement } from '@keyturn/kel'
import type { VerifiedLog } from '@keyturn/kel'
import { base64Decode, base64Encode, hexEncode, KeyturnError, parseStrictJson, sha256 } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import type { AttesterView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { productLock, readProduct } from '../releases/products.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { keyAgreementOf } from './key-agreement.ts'

/** Identities whose word on devices counts, and what they said. */
const attesters = 'attesters'
const attested = 'attested-devices'

interface StoredAttester {
  readonly sn: number
  readonly said: string
  readonly note: string
  readonly added_at: string
}
interface StoredAttestation {
  readonly document: string
  readonly statement: string
}

/** What an identity says about a device. */
interface DeviceDocument {
  readonly did: string
  readonly name: string
  readonly status: 'linked' | 'revoked'
  readonly atMs: number
}

/** Largest device document, and largest statement about one: both come from callers without a token. */
export const maxWordBytes = 8 * 1024
/** How far the clock of an identity may be ahead of ours; a word from the future could not be taken back until then. */
const aheadMs = 5 * 60_000
/** Most devices of a product that one identity attests. */
const mostDevices = 10_000
const maxNameLength = 120
/** Characters that do not show, or turn the direction of what follows, the joiners of some scripts excepted. */
const unprintable = /(?![\u200c\u200d])[\p{C}\p{Zl}\p{Zp}]/u

function parseDocument(bytes: Uint8Array): DeviceDocument {
  const { type, schema, did, name, status, at } = parseStrictJson(bytes, { maxBytes: maxWordBytes }) as JsonObject
  const atMs = typeof at === 'string' ? Date.parse(at) : Number.NaN
  const known =
    type === 'keyturn.device' &&
    schema === 1 &&
    typeof did === 'string' &&
    typeof name === 'string' &&
    (status === 'linked' || status === 'revoked')
  if (!known || Number.isNaN(atMs))
    throw new ServerError('SRV_REQUEST', 'Cannot read this device document: keyturn.device, schema 1, is due')
  if (name.length > maxNameLength || unprintable.test(name)) {
    throw new ServerError(
      'SRV_REQUEST',
      `Cannot read this device document: a name has at most ${maxNameLength} characters, all of them printable`,
    )
  }
  return { did, name, status, atMs }
}

const verified = new Map<string, VerifiedLog>()
const mostVerified = 200

/** Logs are verified when they are taken and once more by each process that reads them; then they are remembered. */
function verifiedLog(prefix: string, bytes: Uint8Array): VerifiedLog {
  const key = `${prefix}/${hexEncode(sha256(bytes))}`
  const known = verified.get(key)
  if (known !== undefined) return known
  const log = verifyLog(bytes, { prefix })
  if (verified.size >= mostVerified) verified.clear()
  verified.set(key, log)
  return log
}

function attesterView(key: string, value: unknown): AttesterView {
  const { sn, said, note, added_at: addedAt } = value as StoredAttester
  return { prefix: key.slice(key.indexOf('/') + 1), sn, said, note, added_at: addedAt }
}

/** Identities that may attest devices of a product. */
export async function listAttesters(records: RecordReader, product: string): Promise<AttesterView[]> {
  const found = await records.list(attesters, { prefix: `${product}/`, limit: 10_000 })
  return found.map(({ key, value }) => attesterView(key, value))
}

/** No release identity may attest: whoever publishes must not also say who may start what was published. */
async function refuseReleaseIdentities(records: RecordReader, prefix: string): Promise<void> {
  for (const { value } of await records.list('products', { limit: 10_000 })) {
    const { pin } = value as { pin: string }
    if (pin.startsWith('did:keri:') && parsePin(pin).prefix === prefix) {
      throw new ServerError('SRV_CONFLICT', 'A release identity cannot attest devices: use an identity of its own')
    }
  }
}

/** Takes a longer log of a listed identity; the same one changes nothing. */
async function putLog(
  records: RecordWriter,
  product: string,
  prefix: string,
  bytes: Uint8Array,
  fresh: { note: string; added_at: string } | undefined,
): Promise<VerifiedLog> {
  const log = verifiedLog(prefix, bytes)
  const key = `${product}/${prefix}`
  const old = await records.get(attesters, key)
  const held = old?.body === undefined ? undefined : verifiedLog(prefix, old.body)
  const relation = held === undefined ? 'ahead' : compareLogs(held, log).relation
  if (relation === 'forked')
    throw new ServerError('SRV_CONFLICT', `The log of ${prefix} contradicts the one that is here`)
  if (held !== undefined && (relation === 'behind' || (relation === 'same' && fresh === undefined))) return held
  const { note, added_at: addedAt } = { ...(old?.value as unknown as StoredAttester | undefined), ...fresh }
  await records.put(attesters, {
    key,
    value: { sn: log.state.sn, said: log.state.said, note: note ?? '', added_at: addedAt ?? '' },
    body: bytes,
  })
  return log
}

/**
 * Lists an identity whose word on devices counts, or takes its longer log.
 *
 * @throws KelError for a log that does not hold; ServerError `SRV_CONFLICT` for a release identity or a forked log.
 */
export async function putAttester(
  context: ServerContext,
  product: string,
  prefix: string,
  log: Uint8Array,
  note: string,
  caller: Caller,
): Promise<AttesterView> {
  const now = context.clock()
  return context.metadata.transaction([auditLock, productLock(product)], async (records) => {
    await readProduct(records, product)
    await refuseReleaseIdentities(records, prefix)
    const listed = (await records.get(attesters, `${product}/${prefix}`))?.value as unknown as
      | StoredAttester
      | undefined
    const { state } = await putLog(records, product, prefix, log, {
      note,
      added_at: listed?.added_at ?? timestamp(now),
    })
    await appendAudit(records, now, {
      ...caller,
      action: 'attester.put',
      target: `${product}/${prefix}`,
      facts: { sn: state.sn, said: state.said },
    })
    return attesterView(`${product}/${prefix}`, (await records.get(attesters, `${product}/${prefix}`))?.value)
  })
}

/** Strikes an identity off: everything it said about devices counts no more, at once. */
export async function removeAttester(
  context: ServerContext,
  product: string,
  prefix: string,
  caller: Caller,
): Promise<void> {
  await context.metadata.transaction([auditLock, productLock(product)], async (records) => {
    await readProduct(records, product)
    await records.delete(attesters, `${product}/${prefix}`)
    await appendAudit(records, context.clock(), {
      ...caller,
      action: 'attester.strike',
      target: `${product}/${prefix}`,
    })
  })
}

/** What an identity said about a device, checked against its log; void when its keys were turned since. */
function judge(
  log: VerifiedLog,
  document: Uint8Array,
  statement: Uint8Array,
): DeviceDocument & { readonly void: boolean } {
  const { retiredBy } = verifyStatement(statement, sha256(document), log, {
    purpose: 'device',
    allowUnproven: true,
  })
  return { ...parseDocument(document), void: retiredBy !== undefined }
}

/**
 * The word that stands on a device, if any. One by keys that were turned since counts for nothing: whoever stole them
 * could otherwise have said something that no later word undoes.
 */
async function standing(
  records: RecordReader,
  name: string,
  log: VerifiedLog,
): Promise<{ document: string; atMs: number } | undefined> {
  const stored = (await records.get(attested, name))?.value as unknown as StoredAttestation | undefined
  if (stored === undefined) return undefined
  try {
    const word = judge(log, base64Decode(stored.document), base64Decode(stored.statement))
    return word.void ? undefined : { document: stored.document, atMs: word.atMs }
  } catch (error) {
    if (error instanceof KeyturnError) return undefined
    throw error
  }
}

async function refuseTooMany(records: RecordReader, product: string, prefix: string, name: string): Promise<void> {
  const names = (await records.list(attested, { prefix: `${product}/`, limit: 1_000_000 }))
    .map(({ key }) => key)
    .filter((key) => key.endsWith(`/${prefix}`))
  if (names.length >= mostDevices && !names.includes(name)) {
    throw new ServerError('SRV_LIMIT', `This identity attests ${mostDevices} devices of the product: no more are taken`)
  }
}

/** What is sent to attest a device: all of it proves itself. */
export interface Attestation {
  /** Prefix of the identity that speaks. */
  readonly prefix: string
  readonly document: Uint8Array
  readonly statement: Uint8Array
  /** A longer log of the identity, when it was turned since. */
  readonly log: Uint8Array | undefined
}

/**
 * Takes the word of a listed identity on a device: its link, or the end of it. Needs no token: whoever brings it, it is
 * the identity that speaks. A newer word is never undone by an older one.
 *
 * @throws KelError for a statement that does not hold; ServerError `SRV_NOT_FOUND` for an identity that is not listed,
 * `SRV_CONFLICT` for a word by keys that were turned since, for an older one and for one from the future, `SRV_LIMIT`
 * for more devices than an identity may attest.
 */
export async function attestDevice(
  context: ServerContext,
  product: string,
  given: Attestation,
  caller: Caller,
): Promise<{ key: string; name: string; status: string }> {
  const now = context.clock()
  return context.metadata.transaction([auditLock, productLock(product)], async (records) => {
    const listed = (await records.get(attesters, `${product}/${given.prefix}`))?.body
    if (listed === undefined)
      throw new ServerError('SRV_NOT_FOUND', 'This identity is not listed as one that attests devices')
    const log =
      given.log === undefined
        ? verifiedLog(given.prefix, listed)
        : await putLog(records, product, given.prefix, given.log, undefined)
    const word = judge(log, given.document, given.statement)
    if (word.void)
      throw new ServerError('SRV_CONFLICT', 'The keys of this identity were turned since: link the device again')
    const key = hexEncode(keyAgreementOf(parseDidKey(word.did)))
    const name = `${product}/${key}/${given.prefix}`
    if (word.atMs > now + aheadMs)
      throw new ServerError(
        'SRV_CONFLICT',
        'This word on a device is dated in the future: set the clock of the machine that signs',
      )
    const answer = { key, name: word.name, status: word.status }
    const document = base64Encode(given.document)
    const old = await standing(records, name, log)
    // Said before: nothing changes, however often it is brought.
    if (old?.document === document) return answer
    if (old !== undefined && old.atMs >= word.atMs)
      throw new ServerError('SRV_CONFLICT', 'A more recent word on this device is here')
    await refuseTooMany(records, product, given.prefix, name)
    await records.put(attested, { key: name, value: { document, statement: base64Encode(given.statement) } })
    await appendAudit(records, now, {
      ...caller,
      action: `device.${word.status}`,
      target: `${product}/${key}`,
      facts: { by: given.prefix, name: word.name },
    })
    return answer
  })
}

/** Devices that identities spoke about, as they stand now. */
export async function listAttested(
  records: RecordReader,
  product: string,
  key = '',
): Promise<{ key: string; by: string; name: string; status: 'linked' | 'revoked' | 'void' }[]> {
  const found = await records.list(attested, { prefix: `${product}/${key === '' ? '' : `${key}/`}`, limit: 100_000 })
  const views = await Promise.all(
    found.map(async ({ key: place, value }) => {
      const [, device = '', by = ''] = place.split('/')
      const log = (await records.get(attesters, `${product}/${by}`))?.body
      const { document, statement } = value as unknown as StoredAttestation
      try {
        const word =
          log === undefined ? undefined : judge(verifiedLog(by, log), base64Decode(document), base64Decode(statement))
        return {
          key: device,
          by,
          name: word?.name ?? '',
          status: word === undefined || word.void ? ('void' as const) : word.status,
        }
      } catch (error) {
        // A record that no longer holds gives nobody a key; it takes none from others either.
        if (error instanceof KeyturnError) return { key: device, by, name: '', status: 'void' as const }
        throw error
      }
    }),
  )
  return views
}

/** Whether a listed identity says, and nobody took back, that this device may have runtime keys. */
export async function isAttested(records: RecordReader, product: string, key: string): Promise<boolean> {
  return (await listAttested(records, product, key)).some(({ status }) => status === 'linked')
}
