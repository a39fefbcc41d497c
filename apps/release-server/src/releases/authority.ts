import type { TrustState } from '@keyturn/manifest'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ListedError } from '../problem.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { channelsOf } from './channels.ts'
import { productLock, readProduct, storeAuthority } from './products.ts'
import type { StoredProduct } from './products.ts'
import { readManifestBytes, readRelease, readSignatures } from './releases.ts'
import { readTrustState, storeTrustState, verifyAuthority, verifyOffer } from './trust.ts'
import type { ProposedDocuments } from './trust.ts'

/** A new key event log, with the role documents that come with it. */
export interface AuthorityChange {
  readonly product: StoredProduct
  /** What the log was accepted to. */
  readonly state: TrustState
  readonly proposed: Pick<ProposedDocuments, 'log' | 'roles'>
  readonly nowMs: number
  /** A channel that gets a new head in the same step. */
  readonly except?: string | undefined
}

/**
 * A new log or role document must leave every other channel installable, unless it already was not: a key is withdrawn
 * together with signing again.
 *
 * @throws ServerError `PUB_WOULD_BREAK` with the list of channels.
 */
export async function requireOthersKeep(
  context: ServerContext,
  records: RecordReader,
  { product, state, proposed, nowMs, except }: AuthorityChange,
): Promise<void> {
  const { slug, pin } = product
  const before = await readTrustState(records, slug, pin)
  const broken: string[] = []
  for (const { channel, manifest: pointer } of await channelsOf(records, slug)) {
    if (channel === except || pointer === null) continue
    const release = await readRelease(records, slug, channel, pointer.version)
    const manifest = await readManifestBytes(context, release)
    const { envelope: signatures } = await readSignatures(records, release)
    const subject = { product: slug, pin, channel, nowMs }
    const now = await verifyOffer(records, before, subject, { manifest, signatures })
    const then = await verifyOffer(records, state, subject, { ...proposed, manifest, signatures })
    if (now.outcome !== 'refused' && then.outcome === 'refused') broken.push(`${channel}: ${then.error.code}`)
  }
  if (broken.length > 0)
    throw new ListedError(
      'PUB_WOULD_BREAK',
      `The new log would leave channels without valid signatures: ${broken.join(', ')}`,
      broken,
    )
}

/** A longer key event log for a product. */
export interface LogUpload {
  readonly product: string
  readonly log: Uint8Array
  /** Let channels lose their valid signatures: for a stolen key, when signing again has to wait. */
  readonly force: boolean
}

/**
 * Accepts a longer key event log together with the role document it seals.
 *
 * @throws KelError, ManifestError, ServerError `PUB_UNSEALED`, `PUB_WOULD_BREAK`.
 */
export async function replaceLog(
  context: ServerContext,
  { product: slug, log, force }: LogUpload,
  caller: Caller,
): Promise<void> {
  const nowMs = context.clock()
  await context.metadata.transaction([AUDIT_LOCK, productLock(slug)], async (records) => {
    const product = await readProduct(records, slug)
    const { authority, state } = await verifyAuthority(
      records,
      await readTrustState(records, slug, product.pin),
      { product: slug, pin: product.pin, channel: product.default_channel, nowMs },
      { log },
    )
    if (!force) await requireOthersKeep(context, records, { product, state, proposed: { log }, nowMs })
    await storeAuthority(records, slug, authority)
    await storeTrustState(records, slug, state)
    await appendAudit(records, nowMs, {
      ...caller,
      action: 'log.replace',
      target: slug,
      facts: {
        sn: state.log?.sn ?? 0,
        said: state.log?.said ?? '',
        roles: authority.roles.version,
        forced: force,
      },
    })
    await records.notify('documents', slug)
    await records.notify('products', slug)
  })
}
