import { hexEncode, printable, requireMembers, utf8Encode } from '@keyturn/primitives'
import { parsePolicy, TlogError } from '@keyturn/tlog'
import { parseDocument } from './fields.ts'
import type { DocumentKind, Fields } from './fields.ts'
import { ManifestError } from './errors.ts'
import { limits } from './limits.ts'
import type { LogPolicy, Role, RoleDocument } from './model.ts'
import { parseTime } from './time.ts'
import { documentBytes } from './write-manifest.ts'

const KIND: DocumentKind = { name: 'role document', schemaCode: 'TRUST_ROLES', jsonCode: 'TRUST_ROLES' }
const TYPE = 'keyturn.roles'

function refuse(message: string): never {
  throw new ManifestError('TRUST_ROLES', `Cannot use role document: ${message}`)
}

function readRole(fields: Fields): Role {
  const keys = fields.publicKeys('keys', { min: 1 })
  if (keys.length > limits.roleKeys) fields.fail('keys', `has ${keys.length} entries, ${limits.roleKeys} are allowed`)
  return { keys, threshold: fields.integer('threshold', 1, keys.length) }
}

function readLogPolicy(fields: Fields): LogPolicy {
  const graceHours = fields.optionalInteger('grace_hours', 0, limits.maxGraceHours) ?? limits.graceHours
  return { policy: fields.text('policy', limits.policyText), graceHours }
}

/** The key of the log is a role of its own: a thief of one of the others must not have it too. */
function checkLogPolicy({ log, roles }: RoleDocument): void {
  if (log === undefined) return
  const others = new Set([...roles.release.keys, ...roles.head.keys])
  try {
    const { logs, witnesses } = parsePolicy(utf8Encode(log.policy))
    if (logs.length === 0) refuse('its log policy names no log')
    const shared = [...logs, ...witnesses].find(({ key }) => others.has(hexEncode(key.publicKey)))
    if (shared !== undefined) refuse(`the key of "${shared.key.name}" in its log policy is in a role too`)
  } catch (error) {
    if (!(error instanceof TlogError)) throw error
    throw new ManifestError('TRUST_ROLES', `Cannot use role document: ${error.message}`, { cause: error })
  }
}

/** Members that `critical` may name without shutting this reader out. */
const KNOWN_MEMBERS = new Set(['roles', 'revoked_keys', 'transport', 'head_days', 'log'])

/** What has to be understood: a reader that does not know all of it must not go on with the rest. */
function readCritical(fields: Fields): string[] {
  const named = fields.texts('critical', {}, (text) => text !== '' && text.length <= 64, 'is not the name of a member')
  const foreign = named.find((name) => !KNOWN_MEMBERS.has(name))
  if (foreign !== undefined) {
    throw new ManifestError(
      'MAN_CRITICAL',
      `Cannot use role document: this launcher does not understand its critical member "${printable(foreign, 64)}"`,
    )
  }
  const absent = named.find((name) => !fields.has(name))
  if (absent !== undefined) refuse(`critical names "${absent}", which it does not have`)
  return named
}

/** Rules that one role document has to keep on its own; docs/spec/manifest.md §3. */
function checkRoles({ roles, revokedKeys, issuedAt, expiresAt }: RoleDocument): void {
  const revoked = new Set(revokedKeys)
  const release = new Set(roles.release.keys)
  for (const key of roles.head.keys) if (release.has(key)) refuse(`key ${key} is in two roles`)
  for (const key of [...roles.release.keys, ...roles.head.keys])
    if (revoked.has(key)) refuse(`key ${key} is in a role and revoked`)
  const [issued, expires] = [parseTime(issuedAt), parseTime(expiresAt)] as [number, number]
  if (expires <= issued) refuse('expires_at is not after issued_at')
  if (expires - issued > limits.rolesValidityMs) refuse('it is valid for more than 400 days')
}

/**
 * Reads a role document: shape and its own rules. Whether it is in force is what the key event log says.
 *
 * @throws {@link ManifestError} `TRUST_ROLES`, `MAN_CRITICAL`, `MAN_LIMIT`.
 */
export function parseRoles(bytes: Uint8Array): RoleDocument {
  const fields = parseDocument(bytes, KIND, limits.rolesBytes)
  fields.exactly('type', TYPE, 'TRUST_ROLES')
  fields.integer('schema', 1, 1)
  const roles = fields.object('roles')
  const document: RoleDocument = {
    product: fields.name('product'),
    version: fields.integer('version', 1, Number.MAX_SAFE_INTEGER),
    epoch: fields.integer('epoch', 0, Number.MAX_SAFE_INTEGER),
    issuedAt: fields.time('issued_at'),
    expiresAt: fields.time('expires_at'),
    roles: { release: readRole(roles.object('release')), head: readRole(roles.object('head')) },
    revokedKeys: fields.publicKeys('revoked_keys', {}),
    transport: fields.transportIdentities('transport'),
    ...(fields.has('log') && { log: readLogPolicy(fields.object('log')) }),
    ...(fields.has('critical') && { critical: readCritical(fields) }),
    ...(fields.has('head_days') && { headDays: fields.integer('head_days', 1, limits.maxHeadDays) }),
  }
  checkRoles(document)
  checkLogPolicy(document)
  return document
}

function roleMembers({ keys, threshold }: Role): { keys: string[]; threshold: number } {
  return { keys: [...keys], threshold }
}

/**
 * Writes a role document. It carries no signature: the key event log seals its literal bytes.
 *
 * @throws {@link ManifestError} `TRUST_ROLES` for a document no reader would take.
 */
export function writeRoles(document: RoleDocument): Uint8Array<ArrayBuffer> {
  requireMembers(document, 'document', ['product', 'roles'])
  const bytes = documentBytes({
    type: TYPE,
    schema: 1,
    product: document.product,
    version: document.version,
    epoch: document.epoch,
    issued_at: document.issuedAt,
    expires_at: document.expiresAt,
    roles: { release: roleMembers(document.roles.release), head: roleMembers(document.roles.head) },
    revoked_keys: [...document.revokedKeys],
    transport: [...document.transport],
    head_days: document.headDays,
    log: document.log && { policy: document.log.policy, grace_hours: document.log.graceHours },
    critical: document.critical === undefined || document.critical.length === 0 ? undefined : [...document.critical],
  })
  parseRoles(bytes)
  return bytes
}

/**
 * Holds a role document to the one before it: the epoch never falls, `revoked_keys` only grows, the product stays.
 *
 * @throws {@link ManifestError} `TRUST_ROLLBACK` for a lower version or epoch, `TRUST_ROLES` for the rest.
 */
export function checkRolesStep(previous: RoleDocument, next: RoleDocument): void {
  if (next.version < previous.version || next.epoch < previous.epoch) {
    throw new ManifestError(
      'TRUST_ROLLBACK',
      `Cannot use role document: version ${next.version} and epoch ${next.epoch} follow version ` +
        `${previous.version} and epoch ${previous.epoch}`,
    )
  }
  if (next.product !== previous.product) refuse(`product "${next.product}" follows "${previous.product}"`)
  const revoked = new Set(next.revokedKeys)
  for (const key of previous.revokedKeys) if (!revoked.has(key)) refuse(`key ${key} was revoked and is no more`)
}
