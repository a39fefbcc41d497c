import type { RuntimeKeyDelivery } from './delivery.ts'
import { envDelivery } from './env-delivery.ts'
import { fdDelivery } from './fd-delivery.ts'
import { sharedMemoryDelivery } from './shared-memory-delivery.ts'
import type { SharedMemoryDeliveryOptions } from './shared-memory-delivery.ts'

/**
 * The delivery a launcher's settings name. Neither a manifest nor a server may choose it.
 *
 * @example `deliveryNamed('fd').deliver(key, { file: 'bin/game' })`
 */
export function deliveryNamed(
  name: RuntimeKeyDelivery['name'],
  options: SharedMemoryDeliveryOptions = {},
): RuntimeKeyDelivery {
  switch (name) {
    case 'env':
      return envDelivery(options)
    case 'fd':
      return fdDelivery(options)
    case 'shared-memory':
      return sharedMemoryDelivery(options)
    default:
      throw new RangeError(`No runtime key delivery is called "${String(name)}"`)
  }
}
