import { sha256Hex } from '@keyturn/primitives'
import { fitsSeal } from './accept-log.ts'
import type { AcceptedLog, SealedRoles } from './accept-log.ts'
import { checkIssued } from './cycle.ts'
import type { Cycle } from './cycle.ts'
import { ManifestError } from './errors.ts'
import type { RoleDocument } from './model.ts'
import { checkRolesStep, parseRoles } from './role-document.ts'
import type { TrustState } from './trust-state.ts'

/** The role document in force. */
export interface AcceptedRoles {
  readonly roles: RoleDocument
  readonly bytes: Uint8Array
  readonly sha256: string
}

function parseSealed(bytes: Uint8Array, sealed: SealedRoles, log: AcceptedLog): RoleDocument {
  const roles = parseRoles(bytes)
  if (roles.version !== sealed.version) {
    throw new ManifestError(
      'TRUST_ROLES',
      `Cannot use role document: it calls itself ${roles.version}, the log seals it as ${sealed.version}`,
    )
  }
  for (const key of [...roles.roles.release.keys, ...roles.roles.head.keys]) {
    // A day-to-day key that is also a key of the identity would let one theft do the work of two.
    if (log.identityKeys.has(key))
      throw new ManifestError('TRUST_ROLES', `Cannot use role document: key ${key} is a key of the identity`)
  }
  return roles
}

/** Finds the place of a document among those that the log seals. */
export function findSealed(bytes: Uint8Array, log: AcceptedLog): SealedRoles | undefined {
  // The newest first: a document that comes back later counts with its later number.
  return log.roles.findLast((sealed) => fitsSeal(bytes, sealed))
}

/**
 * Reads any role document that the log seals, in force or not.
 *
 * @throws {@link ManifestError} `TRUST_ROLES`.
 */
export function readSealedRoles(bytes: Uint8Array, log: AcceptedLog): RoleDocument {
  const sealed = findSealed(bytes, log)
  if (sealed === undefined) throw new ManifestError('TRUST_ROLES', 'Cannot use role document: the log does not seal it')
  return parseSealed(bytes, sealed, log)
}

/** What was revoked stays revoked and epochs never fall, over all documents that are at hand. */
function checkHistory(current: RoleDocument, earlier: readonly Uint8Array[], log: AcceptedLog): void {
  const documents = earlier
    .filter((bytes) => findSealed(bytes, log) !== undefined)
    .map((bytes) => readSealedRoles(bytes, log))
    .filter(({ version }) => version < current.version)
    .sort((a, b) => a.version - b.version)
  documents.push(current)
  for (let index = 1; index < documents.length; index++) {
    checkRolesStep(documents[index - 1] as RoleDocument, documents[index] as RoleDocument)
  }
}

/** What a role document is compared with. */
export interface RolesContext {
  readonly state: TrustState
  /** Role documents before it that are at hand. */
  readonly earlier?: readonly Uint8Array[] | undefined
}

/**
 * Accepts the role document in force: the one that the last establishment event seals, whatever the age of the rest.
 *
 * @param bytes - `roles/<N>.json`, or undefined when it was withheld.
 * @throws {@link ManifestError} `TRUST_ROLES`, `TRUST_ROLLBACK`, `TRUST_CLOCK`, `MAN_APP_MISMATCH`, `MAN_LIMIT`.
 */
export function acceptRoles(
  bytes: Uint8Array | undefined,
  log: AcceptedLog,
  cycle: Cycle,
  { state, earlier = [] }: RolesContext,
): AcceptedRoles {
  const inForce = log.roles.at(-1) as SealedRoles
  if (bytes === undefined) {
    throw new ManifestError(
      'TRUST_ROLES',
      `Cannot verify release: role document ${inForce.version} could not be fetched`,
      {
        details: { version: inForce.version },
      },
    )
  }
  if (!fitsSeal(bytes, inForce)) {
    throw new ManifestError(
      'TRUST_ROLES',
      `Cannot use role document: it is not number ${inForce.version} as the log seals it`,
    )
  }
  const roles = parseSealed(bytes, inForce, log)
  if (state.epoch !== undefined && state.roles !== undefined && roles.epoch < state.epoch) {
    throw new ManifestError(
      'TRUST_ROLLBACK',
      `Cannot use role document: its epoch ${roles.epoch} is below ${state.epoch}`,
    )
  }
  checkHistory(roles, earlier, log)
  if (cycle.product !== undefined && roles.product !== cycle.product) {
    throw new ManifestError(
      'MAN_APP_MISMATCH',
      `Cannot use role document: it is for product "${roles.product}", not "${cycle.product}"`,
    )
  }
  checkIssued(roles.issuedAt, cycle, 'TRUST_CLOCK', 'role document')
  return { roles, bytes, sha256: sha256Hex(bytes) }
}
