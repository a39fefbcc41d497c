import { limits, ManifestError } from '@keyturn/manifest'
import { findKills, parseKill, readKills, writeKills } from '@keyturn/manifest/kill'
import type { RoleDocument } from '@keyturn/manifest'
import type { SignedKill } from '@keyturn/manifest/kill'
import type { KillView } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { documentKey, documentRecord, documents } from '../public/documents.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { ServerError } from '../errors.ts'
import { productLock, rolesInForce } from './products.ts'
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

/** The role in force that a key belongs to. */
type Role = KillView['role']

/**
 * The role that a key has, and the roles themselves. One answer for a product that is missing, one without roles and a
 * key in none of them: anyone may ask, and learns nothing about what there is.
 */
async function roleOf(records: RecordReader, slug: string, key: string): Promise<{ role: Role; roles: RoleDocument }> {
  const roles = await rolesInForce(records, slug).catch((error: unknown) => {
    if (error instanceof ServerError && error.code === 'SRV_PRODUCT_TRUST') return undefined
    throw error
  })
  const role = (['release', 'head'] as const).find((name) => roles?.roles[name].keys.includes(key) === true)
  if (roles === undefined || role === undefined)
    throw new ManifestError('MAN_KEY_UNKNOWN', `Cannot use kill notice: key ${key} is in no role that is in force`)
  return { role, roles }
}

async function knownKills(records: RecordReader, slug: string): Promise<readonly SignedKill[]> {
  const bytes = await killsOf(records, slug)
  return bytes === undefined ? [] : readKills(bytes)
}

/**
 * Takes a notice by which a key of a role ends itself, and shows it in the public tree. It needs no token: the key has
 * signed it, and it can only take rights away. From then on this server refuses what the key signs, as launchers do.
 *
 * @throws ManifestError `MAN_KILL`, `MAN_LIMIT`; `MAN_KEY_UNKNOWN` for a key of no role in force, also where there is
 *   no such product.
 */
export async function recordKill(
  context: ServerContext,
  { product: slug, notice: bytes, requestId }: KillUpload,
): Promise<KillView> {
  const kill = parseKill(bytes)
  const { product: named, key } = kill.notice
  if (named !== slug)
    throw new ManifestError('MAN_KILL', `Cannot use kill notice: it is for product "${named}", expected "${slug}"`)
  const isKnown = (kills: readonly SignedKill[]): boolean => kills.some((other) => other.notice.key === key)
  const viewOf = ({ role, roles }: { role: Role; roles: RoleDocument }, kills: readonly SignedKill[]): KillView => ({
    key,
    role,
    killed: findKills([writeKills(kills)], roles).keys,
  })
  // Before any lock: what strangers send, and what was sent already, must delay nobody.
  const found = await roleOf(context.metadata, slug, key)
  const known = await knownKills(context.metadata, slug)
  if (isKnown(known)) return viewOf(found, known)
  const nowMs = context.clock()
  return await context.metadata.transaction([AUDIT_LOCK, productLock(slug)], async (records) => {
    const { role, roles } = await roleOf(records, slug, key)
    const before = await knownKills(records, slug)
    if (isKnown(before)) return viewOf({ role, roles }, before)
    const after = kept([...before, kill], roles)
    await documents.put(records, documentRecord(documentKey(slug, undefined, KILLS_NAME), writeKills(after)))
    // The key itself speaks here, not a person with a token.
    const actor = `key:${key.slice(0, 16)}`
    await appendAudit(records, nowMs, { actor, requestId, action: 'key.kill', target: slug, facts: { key, role } })
    await records.notify('documents', slug)
    return viewOf({ role, roles }, after)
  })
}
