import { rotationPolicy } from '@keyturn/noise-keys/owner'
import type { RotationPolicy, TransportMetadata } from '@keyturn/noise-keys/owner'
import type { HomeDescription } from '../home.ts'

/** When transport keys are rotated: by their own metadata, unless the home's policy names other days. */
export function transportPolicy({ policy }: HomeDescription, metadata: TransportMetadata): RotationPolicy {
  return policy?.transport === undefined
    ? metadata.policy
    : rotationPolicy({ ...metadata.policy, intervalS: policy.transport * 86_400 })
}
