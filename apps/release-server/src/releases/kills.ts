import { limits, ManifestError } from '@keyturn/manifest'
import { findKills, parseKill, readKills, writeKills } from '@keyturn/manifest/kill'
import type { RoleDocument } from '@keyturn/manifest'
import type { SignedKill } from '@keyturn/manifest/kill'
import type { KillView } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { documentKey, documentRecord, documents } from '../public/documents.ts'
import { productLock, readProduct, rolesInForce } from './products.ts'
import { KILLS_NAME, killsOf } from './trust.ts'

/** A notice that a key of a product has ended. */
export interface KillUpload {
  readonly product: string
  /** As `signKill` makes it. */
  readonly notice: Uint8Array
  readonly requestId: string
}

/** Notices that are kept: those of keys in force always, older ones as long as there is room. */
function kept(all: readonly SignedKill[], roles: RoleDocument): SignedKill[] {
  const inForce = new Set(findKills([writeKills(all)], roles).keys)
  const isInForce = (kill: SignedKill): boolean => inForce.has(kill.notice.key)
  return [...all.filter(isInForce), ...all.filter((kill) => !isInForce(kill))].slice(0, limits.kills)
}

/**
 * Takes a notice by which a key of a role ends itself, and shows it in the public tree. It needs no token: the key has
 * signed it, and it can only take rights away. From then on this server refuses what the key signs, as launchers do.
 *
 * @throws ManifestError `MAN_KILL`, `MAN_LIMIT`; `MAN_KEY_UNKNOWN` for a key of no role in force; ServerError
 *   `SRV_NOT_FOUND`, `SRV_PRODUCT_TRUST`.
 */
export async function recordKill(
  context: ServerContext,
  { product: slug, notice: bytes, requestId }: KillUpload,
): Promise<KillView> {
  const kill = parseKill(bytes)
  const { product: named, key } = kill.notice
  if (named !== slug)
    throw new ManifestError('MAN_KILL', `Cannot use kill notice: it is for product "${named}", expected "${slug}"`)
  const nowMs = context.clock()
  return await context.metadata.transaction([AUDIT_LOCK, productLock(slug)], async (records) => {
    await readProduct(records, slug)
    const roles = await rolesInForce(records, slug)
    const role = (['release', 'head'] as const).find((name) => roles.roles[name].keys.includes(key))
    if (role === undefined)
      throw new ManifestError('MAN_KEY_UNKNOWN', `Cannot use kill notice: key ${key} is in no role that is in force`)
    const before = await killsOf(records, slug)
    const known = before === undefined ? [] : readKills(before)
    const after = writeKills(kept([...known, kill], roles))
    const view = { key, role, killed: findKills([after], roles).keys }
    if (known.some((other) => other.notice.key === key)) return view
    await documents.put(records, documentRecord(documentKey(slug, undefined, KILLS_NAME), after))
    // The key itself speaks here, not a person with a token.
    const actor = `key:${key.slice(0, 16)}`
    await appendAudit(records, nowMs, { actor, requestId, action: 'key.kill', target: slug, facts: { key, role } })
    await records.notify('documents', slug)
    return view
  })
}
