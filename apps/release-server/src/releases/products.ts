import { parseRoles, parseTrustRoot, parseTrustState } from '@keyturn/manifest'
import type { RoleDocument, VerifiedAuthority } from '@keyturn/manifest'
import { equalBytes, sha256Hex } from '@keyturn/primitives'
import type { NewProduct, ProductChange, ProductView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { documentKey, documentRecord, documents } from '../public/documents.ts'
import { collection } from '../storage/collection.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { flag, listOf, object, oneOf, preset, text } from '../storage/shape.ts'
import { timestamp } from '../time.ts'
import { checkPinnedKeys } from './pinned-keys.ts'
import { logName, rolesName, stagedRoles, trustStates } from './trust.ts'

/** A product as stored. */
export type StoredProduct = Omit<ProductView, 'log' | 'roles'>

/** Products by their slug. */
export const products = collection(
  'products',
  object<StoredProduct>({
    slug: text,
    name: text,
    pin: text,
    default_channel: text,
    is_default: flag,
    runtime_key_access: preset(oneOf('open', 'devices'), 'open'),
    pinned_keys: preset(listOf(text), []),
    created_at: text,
  }),
)

/** Identities that attest devices, of which only the names matter here: `<product>/<prefix>`. */
const attesterNames = collection('attesters', object<object>({}))

/** Lock of every change to a product. */
export function productLock(slug: string): string {
  return `product:${slug}`
}

/** Reads a product; `SRV_NOT_FOUND` when there is none. */
export async function readProduct(records: RecordReader, slug: string): Promise<StoredProduct> {
  const found = await products.get(records, slug)
  if (found === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such product')
  return found
}

/** A caller who creates or changes a product. */
export interface ProductCaller extends Caller {
  /** Whether the caller is limited to products: then the root of the public tree belongs to somebody else. */
  readonly limited: boolean
}

/**
 * Creates a product; the same request again is answered with the stored one, another product of that name is a
 * conflict.
 *
 * @throws ServerError `SRV_REQUEST`, `SRV_CONFLICT`; `SRV_SCOPE` when a limited caller asks for the root of the tree.
 */
export async function createProduct(
  context: ServerContext,
  product: NewProduct,
  caller: ProductCaller,
): Promise<{ created: boolean; view: ProductView }> {
  const prefix = identityOf(product)
  const pinnedKeys = checkPinnedKeys(product.pinned_keys ?? [])
  if (product.is_default === true) refuseRootTo(caller)
  const now = context.clock()
  const created = await context.metadata.transaction([AUDIT_LOCK, 'products'], async (records) => {
    const others = await products.all(records)
    const old = others.find(({ key }) => key === product.slug)?.value
    if (old !== undefined) {
      if (old.pin !== product.pin)
        throw new ServerError('SRV_CONFLICT', `Product "${product.slug}" exists with another pin`)
      return false
    }
    await refuseAttester(records, prefix)
    const isDefault = product.is_default ?? (others.length === 0 && !caller.limited)
    if (isDefault) await giveUpRoot(records, others)
    const stored: StoredProduct = {
      slug: product.slug,
      name: product.name ?? product.slug,
      pin: product.pin,
      default_channel: product.default_channel ?? 'stable',
      is_default: isDefault,
      runtime_key_access: product.runtime_key_access ?? 'open',
      pinned_keys: pinnedKeys,
      created_at: timestamp(now),
    }
    await products.put(records, { key: product.slug, value: stored })
    await appendAudit(records, now, {
      ...note(caller),
      action: 'product.create',
      target: product.slug,
      facts: { pin: product.pin },
    })
    await records.notify('products', product.slug)
    return true
  })
  return { created, view: await viewProduct(context.metadata, product.slug) }
}

/**
 * Changes a product: its name, its default channel, who gets runtime keys, the keys that old installs pin, and which
 * product answers at the root.
 *
 * @throws ServerError `SRV_NOT_FOUND`; `SRV_SCOPE` when a limited caller asks for the root of the tree.
 */
export async function changeProduct(
  context: ServerContext,
  slug: string,
  change: ProductChange,
  caller: ProductCaller,
): Promise<ProductView> {
  if (change.is_default === true) refuseRootTo(caller)
  const pinnedKeys = change.pinned_keys === undefined ? undefined : checkPinnedKeys(change.pinned_keys)
  const now = context.clock()
  await context.metadata.transaction([AUDIT_LOCK, 'products', productLock(slug)], async (records) => {
    const old = await readProduct(records, slug)
    if (change.is_default === true) await giveUpRoot(records, await products.all(records))
    const value: StoredProduct = {
      ...old,
      name: change.name ?? old.name,
      default_channel: change.default_channel ?? old.default_channel,
      is_default: change.is_default ?? old.is_default,
      runtime_key_access: change.runtime_key_access ?? old.runtime_key_access,
      pinned_keys: pinnedKeys ?? old.pinned_keys,
    }
    await products.put(records, { key: slug, value })
    await appendAudit(records, now, {
      ...note(caller),
      action: 'product.change',
      target: slug,
      facts: { changed: Object.keys(change).toSorted().join(' '), is_default: value.is_default },
    })
    await records.notify('products', slug)
    await records.notify('documents', slug)
  })
  return viewProduct(context.metadata, slug)
}

function note({ actor, requestId }: Caller): Caller {
  return { actor, requestId }
}

/** The prefix of the identity under which a product is published. */
function identityOf({ slug, pin }: NewProduct): string {
  const root = parseTrustRoot(pin)
  if (root.kind === 'kel') return root.prefix
  throw new ServerError(
    'SRV_REQUEST',
    `Cannot create product "${slug}" under pinned keys: releases are published under an identity`,
    {
      hint:
        'Create an identity with keyturn init; installs with pinned keys are served too, by manifest.json.sig ' +
        'of the old key (--legacy-key-file)',
    },
  )
}

function refuseRootTo({ limited }: ProductCaller): void {
  if (limited)
    throw new ServerError('SRV_SCOPE', 'The token is limited to products, and the root of the tree belongs to all', {
      hint: 'Ask an administrator without limits to change which product answers at the root',
    })
}

/** One product answers at the root. */
async function giveUpRoot(
  records: RecordWriter,
  others: readonly { readonly key: string; readonly value: StoredProduct }[],
): Promise<void> {
  const before = others.filter(({ value }) => value.is_default)
  await products.put(records, ...before.map(({ key, value }) => ({ key, value: { ...value, is_default: false } })))
}

/** Anyone who may publish must not also decide which devices get keys, in whatever order the two were set up. */
async function refuseAttester(records: RecordReader, prefix: string): Promise<void> {
  for (const { key } of await attesterNames.all(records)) {
    if (key.endsWith(`/${prefix}`))
      throw new ServerError(
        'SRV_CONFLICT',
        'This identity attests devices here: releases need an identity of their own',
      )
  }
}

/** A product with its trust state. */
export async function viewProduct(records: RecordReader, slug: string): Promise<ProductView> {
  const product = await readProduct(records, slug)
  const trust = await trustStates.body(records, slug)
  const state = trust === undefined ? undefined : parseTrustState(trust)
  const rolesBytes = state?.roles === undefined ? undefined : await rolesBody(records, slug, state.roles.version)
  const roles =
    state?.roles === undefined || rolesBytes === undefined
      ? null
      : { ...state.roles, expires_at: parseRoles(rolesBytes).expiresAt }
  return { ...product, log: state?.log ?? null, roles }
}

function rolesBody(records: RecordReader, slug: string, version: number): Promise<Uint8Array | undefined> {
  return documents.body(records, documentKey(slug, undefined, rolesName(version)))
}

/** The role document in force; `SRV_PRODUCT_TRUST` when none was accepted yet. */
export async function rolesInForce(records: RecordReader, slug: string): Promise<RoleDocument> {
  const trust = await trustStates.body(records, slug)
  const version = trust === undefined ? undefined : parseTrustState(trust).roles?.version
  const bytes = version === undefined ? undefined : await rolesBody(records, slug, version)
  if (bytes === undefined)
    throw new ServerError('SRV_PRODUCT_TRUST', `Product "${slug}" has no accepted key event log yet`)
  return parseRoles(bytes)
}

/** A role document to stage. */
export interface RolesUpload {
  readonly product: string
  readonly version: number
  readonly bytes: Uint8Array
}

/** Stages a role document: it waits, out of sight, for the log that seals it. One that is in force never changes. */
export async function stageRoles(
  context: ServerContext,
  { product, version, bytes }: RolesUpload,
  caller: Caller,
): Promise<void> {
  const roles = parseRoles(bytes)
  if (roles.product !== product || roles.version !== version) {
    throw new ServerError(
      'SRV_REQUEST',
      `Cannot take this role document: it is version ${roles.version} of "${roles.product}"`,
    )
  }
  const now = context.clock()
  await context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    await readProduct(records, product)
    const inForce = await rolesBody(records, product, version)
    if (inForce !== undefined && equalBytes(inForce, bytes)) return
    if (inForce !== undefined)
      throw new ServerError('PUB_TAKEN', `Role document ${version} of "${product}" is published and never changes`)
    await stagedRoles.put(records, { key: `${product}/${version}`, value: {}, body: bytes })
    await appendAudit(records, now, {
      ...caller,
      action: 'roles.stage',
      target: `${product}/roles/${version}`,
      facts: { sha256: sha256Hex(bytes) },
    })
  })
}

/** Publishes an accepted log and the role document it seals. */
export async function storeAuthority(records: RecordWriter, slug: string, authority: VerifiedAuthority): Promise<void> {
  const { log, logBytes, roles, rolesBytes } = authority
  const rolesKey = documentKey(slug, undefined, rolesName(roles.version))
  // The sealed document first: everybody who sees the log can fetch what it seals.
  await documents.put(records, documentRecord(rolesKey, rolesBytes), {
    ...documentRecord(documentKey(slug, undefined, logName(log.prefix)), logBytes),
    body: logBytes,
  })
  await stagedRoles.delete(records, `${slug}/${roles.version}`)
}
