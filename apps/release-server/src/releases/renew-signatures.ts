import { verifyManifestSignatures } from '@keyturn/manifest'
import type { ReleaseView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { readChannel } from './channels.ts'
import { checkLegacySignature } from './pinned-keys.ts'
import { productLock, readProduct, rolesInForce } from './products.ts'
import { putSignatures, readManifestBytes, readRelease, readSignatures, releaseRule } from './releases.ts'
import { writeHistory, writeSignatures } from './write-tree.ts'

/** New signatures of a release that stays as it is. */
export interface SignatureUpload {
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly envelope: Uint8Array
  readonly legacy?: Uint8Array | undefined
}

/**
 * Renews the signatures of a release: the same bytes, signed again after a rotation; nobody downloads anything for it.
 *
 * @throws ManifestError, ServerError `SRV_NOT_FOUND`, `PUB_LEGACY_KEY`.
 */
export async function renewSignatures(
  context: ServerContext,
  { product, channel, version, envelope, legacy }: SignatureUpload,
  caller: Caller,
): Promise<ReleaseView> {
  const release = await readRelease(context.metadata, product, channel, version)
  const manifest = await readManifestBytes(context, release)
  const nowMs = context.clock()
  await context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    verifyManifestSignatures(
      manifest,
      envelope,
      await releaseRule(records, product, await rolesInForce(records, product)),
    )
    const { pinned_keys: pinnedKeys } = await readProduct(records, product)
    const before = await readSignatures(records, release)
    if (legacy !== undefined)
      checkLegacySignature(pinnedKeys, { manifest, before: before.legacy, after: legacy, isNew: false })
    const signatures = { envelope, legacy: legacy ?? before.legacy }
    await putSignatures(records, release, signatures)
    const isCurrent = (await readChannel(records, product, channel))?.manifest?.sha256 === release.sha256
    if (release.state !== 'draft') await writeHistory(records, { release, manifest, signatures })
    if (isCurrent) await writeSignatures(records, release, signatures)
    await appendAudit(records, nowMs, { ...caller, action: 'release.sign', target: `${product}/${channel}/${version}` })
    await records.notify('documents', product)
  })
  return release
}
