import { checkProof, hashLeaf, parsePolicy, TlogError } from '@keyturn/tlog'
import type { CheckedProof, Policy } from '@keyturn/tlog'
import { utf8Encode } from '@keyturn/primitives'
import type { Cycle } from './cycle.ts'
import { ManifestError } from './errors.ts'
import { formatLogEntry } from './log-entry.ts'
import type { LogPolicy, ManifestPin, RoleDocument } from './model.ts'
import { formatTime, parseTime } from './time.ts'

import type { ChannelFloor, LogFinding, Witnessed } from './trust-state.ts'

const HOUR_MS = 60 * 60 * 1000

/** Reads the policy of a role document; its form was checked when the document was parsed. */
export function policyOf({ policy }: LogPolicy): Policy {
  return parsePolicy(utf8Encode(policy))
}

/** A proof that was accepted before for these bytes under this role document: it needs no second look. */
export function knownWitnessed(floor: ChannelFloor, pin: ManifestPin, roles: RoleDocument): Witnessed | undefined {
  const { witnessed } = floor
  return witnessed?.sha256 === pin.sha256 && witnessed.rolesVersion === roles.version ? witnessed : undefined
}

/** Verifies a proof; what is wrong with one counts as having none. */
function attempt(proof: Uint8Array, leaf: Uint8Array, policy: Policy): CheckedProof | TlogError {
  try {
    return checkProof(proof, hashLeaf(leaf), policy)
  } catch (error) {
    if (error instanceof TlogError) return error
    throw error
  }
}

/**
 * Holds a release to the log policy of the role document, before anything of its manifest is looked at. Without a proof
 * that a quorum of witnesses signed, the release still counts for the grace time. That begins with the first such
 * release and ends with the next proven one: witnesses that are down for a while stop nobody, and a thief cannot begin
 * it again with every release.
 *
 * @param proof - `<version>.tlog-proof`; undefined when it could not be fetched.
 * @throws {@link ManifestError} `MAN_UNWITNESSED` after the grace time.
 */
export function checkLog(
  proof: Uint8Array | undefined,
  pin: ManifestPin,
  { roles, cycle, floor }: { readonly roles: RoleDocument; readonly cycle: Cycle; readonly floor: ChannelFloor },
): LogFinding {
  const { product, version: rolesVersion } = roles
  const log = roles.log as LogPolicy
  const policy = policyOf(log)
  const { channel, nowMs } = cycle
  const leaf = formatLogEntry({ type: 'release', product, channel, number: pin.sequence, sha256: pin.sha256 })
  const found = proof === undefined ? undefined : attempt(proof, leaf, policy)
  const of = policy.witnesses.length
  if (found !== undefined && !(found instanceof TlogError) && found.quorum) {
    const { index, size, origin, witnesses } = found
    return { witnessed: { sha256: pin.sha256, rolesVersion, index, size, origin, signed: witnesses.length, of } }
  }
  // A clock that went back does not make the grace time longer than it is.
  const since = Math.min(nowMs, parseTime(floor.unwitnessed?.since ?? '') ?? nowMs)
  const untilMs = since + log.graceHours * HOUR_MS
  const why =
    found instanceof TlogError ? found.message : found === undefined ? 'it has no proof' : 'too few witnesses signed'
  if (nowMs >= untilMs) {
    throw new ManifestError(
      'MAN_UNWITNESSED',
      `Cannot install release ${pin.version}: it is not shown to be published for everyone: ${why}`,
      { details: { sequence: pin.sequence }, hint: 'What is installed keeps working; try again later' },
    )
  }
  return { unwitnessed: { since: formatTime(since), until: formatTime(untilMs) } }
}

/** A floor with what was found. */
export function withFinding(floor: ChannelFloor, { witnessed, unwitnessed }: LogFinding): ChannelFloor {
  const { witnessed: _before, unwitnessed: _since, ...rest } = floor
  return { ...rest, ...(witnessed && { witnessed }), ...(unwitnessed && { unwitnessed }) }
}
