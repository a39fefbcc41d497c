import type { Seal } from '@keyturn/kel'
import { openOwnLog } from '../identity/identity.ts'
import type { Identity } from '../identity/identity.ts'
import { PublisherError } from '../errors.ts'

/** The anchors a rotation must carry: on a release identity the role document in force, sealed again. */
export async function standingSeals(identity: Identity): Promise<readonly Seal[]> {
  if (identity.kind !== 'release') return []
  const kel = await openOwnLog(identity)
  const [roles] = kel.events[kel.state.lastEstablishment.sn]?.seals ?? []
  if (typeof roles !== 'object' || roles === null || Array.isArray(roles) || typeof roles['d'] !== 'string') {
    throw new PublisherError('CLI_TURN_UNREADY', 'The log of the release identity seals no role document')
  }
  return [{ d: roles['d'] }]
}
