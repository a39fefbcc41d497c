import type { RoleDocument } from '@keyturn/manifest'
import type { ServerContext } from '../context.ts'
import { readProduct, rolesInForce } from './products.ts'
import { readTrustState, verifyAuthority } from './trust.ts'

/** What a new release may come with: the log it will be published with, and role documents that this log seals. */
export interface SentAuthority {
  /** Not stored: the publication brings it again. */
  readonly log?: Uint8Array | undefined
  /** By version. */
  readonly roles?: ReadonlyMap<number, Uint8Array> | undefined
}

/**
 * The role document that a new release is verified with: of the log it comes with, or the one in force.
 *
 * @throws KelError, ManifestError, ServerError `PUB_UNSEALED`, `SRV_PRODUCT_TRUST`.
 */
export async function rolesOf(
  { metadata, clock }: ServerContext,
  product: string,
  { log, roles }: SentAuthority,
): Promise<RoleDocument> {
  if (log === undefined) return await rolesInForce(metadata, product)
  const { pin, default_channel: channel } = await readProduct(metadata, product)
  const state = await readTrustState(metadata, product, pin)
  const subject = { product, pin, channel, nowMs: clock() }
  return (await verifyAuthority(metadata, state, subject, { log, roles })).authority.roles
}
