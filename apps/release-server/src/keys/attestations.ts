import { timestamp } from '../time.ts'
import { compareLogs, parseDidKey, parsePin, verifyStatement } from '@keyturn/kel'
import type { VerifiedLog } from '@keyturn/kel'
import {
  base64Decode,
  base64Encode,
  equalBytes,
  hexEncode,
  isRecord,
  KeyturnError,
  parseStrictJson,
  sha256,
} from '@keyturn/primitives'
import type { AttesterView } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { productLock, products, readProduct } from '../releases/products.ts'
import { collection } from '../storage/collection.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { object, text, whole } from '../storage/shape.ts'
import { shownLog, storedLog } from './verify-in-turn.ts'
import { keyAgreementOf } from './key-agreement.ts'

/** The place of an identity among those whose statements about devices count; its key event log is the body. */
interface StoredAttester {
  readonly sn: number
  readonly said: string
  readonly note: string
  readonly added_at: string
}

/** A statement about a device, both parts in base64. */
interface StoredAttestation {
  readonly document: string
  readonly statement: string
}

/** Attesters by `<product>/<prefix>`. */
const attesters = collection('attesters', object<StoredAttester>({ sn: whole, said: text, note: text, added_at: text }))
/** The latest statement of an identity about a device, by `<product>/<device>/<prefix>`. */
const attested = collection('attested-devices', object<StoredAttestation>({ document: text, statement: text }))

/** What an identity says about a device. */
interface DeviceDocument {
  readonly did: string
  readonly name: string
  readonly status: 'linked' | 'revoked'
  readonly atMs: number
}

/** Largest device document, and largest statement about one: both come from callers without a token. */
export const MAX_STATEMENT_BYTES = 8 * 1024
/**
 * How far the clock of an identity may be ahead of ours; a statement from the future could not be revoked until then.
 */
const AHEAD_MS = 5 * 60_000
/** Most devices of a product that one identity attests. */
const MAX_DEVICES = 10_000
const MAX_NAME_LENGTH = 120
/** Characters that do not show or change the direction of text, except the joiners of some scripts. */
const UNPRINTABLE = /(?![\u200c\u200d])[\p{C}\p{Zl}\p{Zp}]/u

function parseDocument(bytes: Uint8Array): DeviceDocument {
  const parsed = parseStrictJson(bytes, { maxBytes: MAX_STATEMENT_BYTES })
  const { type, schema, did, name, status, at } = isRecord(parsed) ? parsed : {}
  const atMs = typeof at === 'string' ? Date.parse(at) : Number.NaN
  const known =
    type === 'keyturn.device' &&
    schema === 1 &&
    typeof did === 'string' &&
    typeof name === 'string' &&
    (status === 'linked' || status === 'revoked')
  if (!known || Number.isNaN(atMs))
    throw new ServerError('SRV_REQUEST', 'Cannot read this device document: expected keyturn.device, schema 1')
  if (name.length > MAX_NAME_LENGTH || UNPRINTABLE.test(name)) {
    throw new ServerError(
      'SRV_REQUEST',
      `Cannot read this device document: a name has at most ${MAX_NAME_LENGTH} characters, all of them printable`,
    )
  }
  return { did, name, status, atMs }
}

function attesterView(key: string, { sn, said, note, added_at }: StoredAttester): AttesterView {
  return { prefix: key.slice(key.indexOf('/') + 1), sn, said, note, added_at }
}

/** Whether an identity attests devices of any product. */
export async function hasAttester(records: RecordReader, prefix: string): Promise<boolean> {
  return (await attesters.all(records)).some(({ key }) => key.endsWith(`/${prefix}`))
}

/** Identities that may attest devices of a product. */
export async function listAttesters(records: RecordReader, product: string): Promise<AttesterView[]> {
  const found = await attesters.all(records, { prefix: `${product}/` })
  return found.map(({ key, value }) => attesterView(key, value))
}

/** No release identity may attest: anyone who publishes must not also decide who may start what was published. */
async function refuseReleaseIdentities(records: RecordReader, prefix: string): Promise<void> {
  for (const { value } of await products.all(records)) {
    const { pin } = value
    if (pin.startsWith('did:keri:') && parsePin(pin).prefix === prefix) {
      throw new ServerError('SRV_CONFLICT', 'A release identity cannot attest devices: use an identity of its own')
    }
  }
}

/** A key event log of an identity that attests devices, verified before anything is locked. */
interface AttesterLog {
  readonly product: string
  readonly prefix: string
  readonly bytes: Uint8Array
  readonly log: VerifiedLog
}

/** Accepts a longer log of a listed identity; the same one changes nothing. */
async function putLog(
  records: RecordWriter,
  { product, prefix, bytes, log }: AttesterLog,
  fresh: { note: string; added_at: string } | undefined,
): Promise<VerifiedLog> {
  const key = `${product}/${prefix}`
  const old = await attesters.find(records, key)
  const held = old?.body === undefined ? undefined : await storedLog(prefix, old.body)
  const relation = held === undefined ? 'ahead' : compareLogs(held, log).relation
  if (relation === 'forked') throw new ServerError('SRV_CONFLICT', `The log of ${prefix} contradicts the stored one`)
  if (held !== undefined && (relation === 'behind' || (relation === 'same' && fresh === undefined))) return held
  const { note, added_at: addedAt } = { ...old?.value, ...fresh }
  await attesters.put(records, {
    key,
    value: { sn: log.state.sn, said: log.state.said, note: note ?? '', added_at: addedAt ?? '' },
    body: bytes,
  })
  return log
}

/**
 * Lists an identity whose statements about devices count, or accepts its longer log.
 *
 * @throws KelError for an invalid log; ServerError `SRV_CONFLICT` for a release identity or a forked log.
 */
export async function putAttester(
  context: ServerContext,
  given: { readonly product: string; readonly prefix: string; readonly log: Uint8Array; readonly note: string },
  caller: Caller,
): Promise<AttesterView> {
  const now = context.clock()
  const { product, prefix, note, log: bytes } = given
  await readProduct(context.metadata, product)
  const log = await shownLog(prefix, bytes)
  return context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    await readProduct(records, product)
    await refuseReleaseIdentities(records, prefix)
    const key = `${product}/${prefix}`
    const listed = await attesters.get(records, key)
    const addedAt = listed?.added_at ?? timestamp(now)
    const { state } = await putLog(records, { product, prefix, bytes, log }, { note, added_at: addedAt })
    await appendAudit(records, now, {
      ...caller,
      action: 'attester.put',
      target: key,
      facts: { sn: state.sn, said: state.said },
    })
    return attesterView(key, { sn: state.sn, said: state.said, note, added_at: addedAt })
  })
}

/** Removes an identity: its statements about devices no longer count, at once. */
export async function removeAttester(
  context: ServerContext,
  product: string,
  prefix: string,
  caller: Caller,
): Promise<void> {
  await context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    await readProduct(records, product)
    await attesters.delete(records, `${product}/${prefix}`)
    await appendAudit(records, context.clock(), {
      ...caller,
      action: 'attester.strike',
      target: `${product}/${prefix}`,
    })
  })
}

/** A statement about a device, verified against the log of its identity; void when the keys were rotated since. */
function verifyDevice(
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
 * The statement about a device that counts, if any. One by keys that were rotated since counts for nothing: a thief of
 * those keys could otherwise have stated something that no later statement undoes.
 */
async function currentStatement(
  records: RecordReader,
  name: string,
  log: VerifiedLog,
): Promise<{ document: string; atMs: number } | undefined> {
  const stored = await attested.get(records, name)
  if (stored === undefined) return undefined
  try {
    const found = verifyDevice(log, base64Decode(stored.document), base64Decode(stored.statement))
    return found.void ? undefined : { document: stored.document, atMs: found.atMs }
  } catch (error) {
    if (error instanceof KeyturnError) return undefined
    throw error
  }
}

async function refuseTooMany(records: RecordReader, product: string, prefix: string, name: string): Promise<void> {
  const names = (await attested.all(records, { prefix: `${product}/` }))
    .map(({ key }) => key)
    .filter((key) => key.endsWith(`/${prefix}`))
  if (names.length >= MAX_DEVICES && !names.includes(name)) {
    throw new ServerError(
      'SRV_LIMIT',
      `This identity attests ${MAX_DEVICES} devices of the product already, which is the limit`,
    )
  }
}

/**
 * The log of an identity whose statements about devices of a product count.
 *
 * @throws ServerError `SRV_NOT_FOUND` for any other, and for a product that is missing.
 */
export async function requireAttester(records: RecordReader, product: string, prefix: string): Promise<Uint8Array> {
  const listed = await attesters.body(records, `${product}/${prefix}`)
  if (listed === undefined)
    throw new ServerError('SRV_NOT_FOUND', 'This identity is not listed as one that attests devices')
  return listed
}

/** The log that a listed identity shows; undefined when it is a beginning of the stored one and says nothing new. */
async function listedLog(
  { metadata }: ServerContext,
  product: string,
  { prefix, log }: Attestation,
): Promise<VerifiedLog | undefined> {
  const listed = await requireAttester(metadata, product, prefix)
  if (log === undefined || equalBytes(listed.subarray(0, log.length), log)) return undefined
  return await shownLog(prefix, log)
}

/** What is sent to attest a device: all of it proves itself. */
export interface Attestation {
  /** Prefix of the identity that states it. */
  readonly prefix: string
  readonly document: Uint8Array
  readonly statement: Uint8Array
  /** A longer log of the identity, when it was rotated since. */
  readonly log: Uint8Array | undefined
}

/**
 * Accepts the statement of a listed identity about a device: its link, or the end of it. Needs no token: the
 * identity signed it, regardless of who sends it. A newer statement is never undone by an older one.
 *
 * @throws KelError for an invalid statement; ServerError `SRV_NOT_FOUND` for an identity that is not listed,
 * `SRV_CONFLICT` for a statement by keys that were rotated since, an older one or one from the future, `SRV_LIMIT`
 * for more devices than an identity may attest.
 */
export async function attestDevice(
  context: ServerContext,
  product: string,
  given: Attestation,
  caller: Caller,
): Promise<{ key: string; name: string; status: string }> {
  const now = context.clock()
  const { prefix } = given
  // Verified before anything is locked, and for listed identities only, since callers have no token.
  const shown =
    given.log === undefined ? undefined : { bytes: given.log, log: await listedLog(context, product, given) }
  const before = shown?.log ?? (await storedLog(prefix, await requireAttester(context.metadata, product, prefix)))
  verifyDevice(before, given.document, given.statement)
  return context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    const listed = await requireAttester(records, product, prefix)
    const log =
      shown?.log === undefined
        ? await storedLog(prefix, listed)
        : await putLog(records, { product, prefix, bytes: shown.bytes, log: shown.log }, undefined)
    const found = verifyDevice(log, given.document, given.statement)
    if (found.void)
      throw new ServerError('SRV_CONFLICT', 'The keys of this identity were rotated since: link the device again')
    const key = hexEncode(keyAgreementOf(parseDidKey(found.did)))
    const name = `${product}/${key}/${given.prefix}`
    if (found.atMs > now + AHEAD_MS)
      throw new ServerError(
        'SRV_CONFLICT',
        'This statement about a device is dated in the future: set the clock of the machine that signs',
      )
    const answer = { key, name: found.name, status: found.status }
    const document = base64Encode(given.document)
    const old = await currentStatement(records, name, log)
    // Known already: nothing changes, however often it is sent.
    if (old?.document === document) return answer
    if (old !== undefined && old.atMs >= found.atMs)
      throw new ServerError('SRV_CONFLICT', 'A more recent statement about this device is stored')
    await refuseTooMany(records, product, given.prefix, name)
    await attested.put(records, { key: name, value: { document, statement: base64Encode(given.statement) } })
    await appendAudit(records, now, {
      ...caller,
      action: `device.${found.status}`,
      target: `${product}/${key}`,
      facts: { by: given.prefix, name: found.name },
    })
    return answer
  })
}

/** Devices that identities made statements about, with the state those have now. */
export async function listAttested(
  records: RecordReader,
  product: string,
  key = '',
): Promise<{ key: string; by: string; name: string; status: 'linked' | 'revoked' | 'void' }[]> {
  const rows = await attested.all(records, { prefix: `${product}/${key === '' ? '' : `${key}/`}` })
  const views = await Promise.all(
    rows.map(async ({ key: place, value }) => {
      const [, device = '', by = ''] = place.split('/')
      const log = await attesters.body(records, `${product}/${by}`)
      const { document, statement } = value
      try {
        const found =
          log === undefined
            ? undefined
            : verifyDevice(await storedLog(by, log), base64Decode(document), base64Decode(statement))
        return {
          key: device,
          by,
          name: found?.name ?? '',
          status: found === undefined || found.void ? ('void' as const) : found.status,
        }
      } catch (error) {
        // A record that is no longer valid gives nobody a key; it takes none from others either.
        if (error instanceof KeyturnError) return { key: device, by, name: '', status: 'void' as const }
        throw error
      }
    }),
  )
  return views
}

/** Whether a listed identity states, and did not revoke, that this device may have runtime keys. */
export async function isAttested(records: RecordReader, product: string, key: string): Promise<boolean> {
  return (await listAttested(records, product, key)).some(({ status }) => status === 'linked')
}
