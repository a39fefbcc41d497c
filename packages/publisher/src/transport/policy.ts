import { rotationPolicy } from '@keyturn/noise-keys/owner'
import type { RotationPolicy, TransportMetadata } from '@keyturn/noise-keys/owner'
import { counted } from '../words.ts'
import { PublisherError } from '../errors.ts'
import type { HomeDescription } from '../home.ts'

const DAY_S = 86_400

/** When transport keys are rotated: by their own metadata, unless the home's policy names other days. */
export function transportPolicy({ policy }: HomeDescription, metadata: TransportMetadata): RotationPolicy {
  if (policy?.transport === undefined) return metadata.policy
  try {
    return rotationPolicy({ ...metadata.policy, intervalS: policy.transport * DAY_S })
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new PublisherError(
      'CLI_HOME_FORMAT',
      `Cannot rotate transport keys every ${counted(policy.transport, 'day')}: ${cause.message}`,
      { cause, hint: 'Run "keyturn noise interval" with other days' },
    )
  }
}
