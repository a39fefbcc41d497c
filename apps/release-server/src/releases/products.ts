import { timestamp } from '../time.ts'
import { parseRoles, parseTrustRoot, parseTrustState, sha256Hex } from '@keyturn/manifest'
import type { RoleDocument, VerifiedAuthority } from '@keyturn/manifest'
import { equalBytes } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import type { NewProduct, ProductView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { documentKey, documentRecord } from '../public/documents.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { logName, rolesName } from './trust.ts'
import type { Caller } from '../access/caller.ts'

/** A product as stored. */
export type StoredProduct = Omit<ProductView, 'log' | 'roles'>

/** Lock of every change to a product. */
export function productLock(slug: string): string {
  return `product:${slug}`
}

/** Reads a product; `SRV_NOT_FOUND` when there is none. */
export async function readProduct(records: RecordReader, slug: string): Promise<StoredProduct> {
  const found = await records.get('products', slug)
  if (found === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such product')
  return found.value as unknown as StoredProduct
}

/** Creates a product; the same again is answered with the one that is there, another of that name is a conflict. */
export async function createProduct(
  context: ServerContext,
  product: NewProduct,
  caller: Caller,
): Promise<{ created: boolean; view: ProductView }> {
  if (parseTrustRoot(product.pin).kind !== 'kel') {
    throw new ServerError(
      'SRV_REQUEST',
      `Cannot create product "${product.slug}" under pinned keys: releases are published under an identity`,
      {
        hint: 'Make one with keyturn init; installs with pinned keys are served too, by manifest.json.sig of the old key (--legacy-key-file)',
      },
    )
  }
  const now = context.clock()
  const created = await context.metadata.transaction([auditLock, 'products'], async (records) => {
    const others = await records.list('products')
    const old = others.find((record) => record.key === product.slug)?.value as unknown as StoredProduct | undefined
    if (old !== undefined) {
      if (old.pin !== product.pin)
        throw new ServerError('SRV_CONFLICT', `Product "${product.slug}" exists with another pin`)
      return false
    }
    const isDefault = product.is_default ?? others.length === 0
    const demoted = others.filter(({ value }) => isDefault && (value as JsonObject)['is_default'] === true)
    await records.put(
      'products',
      ...demoted.map(({ key, value }) => ({ key, value: { ...(value as JsonObject), is_default: false } })),
    )
    const stored: StoredProduct = {
      slug: product.slug,
      name: product.name ?? product.slug,
      pin: product.pin,
      default_channel: product.default_channel ?? 'stable',
      is_default: isDefault,
      runtime_key_access: product.runtime_key_access ?? 'open',
      created_at: timestamp(now),
    }
    await records.put('products', { key: product.slug, value: stored as unknown as JsonObject })
    await appendAudit(records, now, {
      ...caller,
      action: 'product.create',
      target: product.slug,
      facts: { pin: product.pin },
    })
    await records.notify('products', product.slug)
    return true
  })
  return { created, view: await viewProduct(context.metadata, product.slug) }
}

/** A product with its trust state. */
export async function viewProduct(records: RecordReader, slug: string): Promise<ProductView> {
  const product = await readProduct(records, slug)
  const trust = (await records.get('trust', slug))?.body
  const state = trust === undefined ? undefined : parseTrustState(trust)
  const rolesBytes =
    state?.roles === undefined
      ? undefined
      : (await records.get('documents', documentKey(slug, undefined, rolesName(state.roles.version))))?.body
  const roles =
    state?.roles === undefined || rolesBytes === undefined
      ? null
      : { ...state.roles, expires_at: parseRoles(rolesBytes).expiresAt }
  return { ...product, log: state?.log ?? null, roles }
}

/** The role document in force; `SRV_PRODUCT_TRUST` when none was accepted yet. */
export async function rolesInForce(records: RecordReader, slug: string): Promise<RoleDocument> {
  const trust = (await records.get('trust', slug))?.body
  const version = trust === undefined ? undefined : parseTrustState(trust).roles?.version
  const bytes =
    version === undefined
      ? undefined
      : (await records.get('documents', documentKey(slug, undefined, rolesName(version))))?.body
  if (bytes === undefined)
    throw new ServerError('SRV_PRODUCT_TRUST', `Product "${slug}" has no accepted key event log yet`)
  return parseRoles(bytes)
}

/** Takes a role document; it waits, out of sight, for the log that seals it. One that is in force never changes. */
export async function stageRoles(
  context: ServerContext,
  slug: string,
  version: number,
  bytes: Uint8Array,
  caller: Caller,
): Promise<void> {
  const roles = parseRoles(bytes)
  if (roles.product !== slug || roles.version !== version) {
    throw new ServerError(
      'SRV_REQUEST',
      `Cannot take this role document: it is version ${roles.version} of "${roles.product}"`,
    )
  }
  const now = context.clock()
  await context.metadata.transaction([auditLock, productLock(slug)], async (records) => {
    await readProduct(records, slug)
    const inForce = (await records.get('documents', documentKey(slug, undefined, rolesName(version))))?.body
    if (inForce !== undefined && equalBytes(inForce, bytes)) return
    if (inForce !== undefined)
      throw new ServerError('PUB_TAKEN', `Role document ${version} of "${slug}" is published and never changes`)
    await records.put('staged-roles', { key: `${slug}/${version}`, value: {}, body: bytes })
    await appendAudit(records, now, {
      ...caller,
      action: 'roles.stage',
      target: `${slug}/roles/${version}`,
      facts: { sha256: sha256Hex(bytes) },
    })
  })
}

/** Publishes an accepted log and the role document it seals. */
export async function storeAuthority(records: RecordWriter, slug: string, authority: VerifiedAuthority): Promise<void> {
  const { log, logBytes, roles, rolesBytes } = authority
  const rolesKey = documentKey(slug, undefined, rolesName(roles.version))
  // The sealed document first: who sees the log can have what it seals.
  await records.put('documents', documentRecord(rolesKey, rolesBytes), {
    ...documentRecord(documentKey(slug, undefined, logName(log.prefix)), logBytes),
    body: logBytes,
  })
  await records.delete('staged-roles', `${slug}/${roles.version}`)
}
