import { hexEncode } from '@keyturn/primitives'
import { cleanEnvironment, RUNTIME_KEY_VARIABLES, startChild } from './delivery.ts'
import type { ChildCommand, DeliveredChild, DeliveryOptions, RuntimeKeyDelivery } from './delivery.ts'
import type { RuntimeKey } from '../runtime-key.ts'

/**
 * Delivery by three environment variables of the child, as the original launcher does. The parent's environment is
 * never touched. Stated exposure: processes of the same user can read a child's environment, and the child cannot
 * wipe it.
 */
export function envDelivery(options: DeliveryOptions = {}): RuntimeKeyDelivery {
  return {
    name: 'env',
    async deliver(runtimeKey: RuntimeKey, command: ChildCommand): Promise<DeliveredChild> {
      const env = cleanEnvironment(command.env ?? process.env, options.onInherited)
      const verifier = runtimeKey.signPublicKey
      // Strings cannot be wiped, so the key becomes one at the last moment and lives in this object alone.
      env[RUNTIME_KEY_VARIABLES.keyId] = String(runtimeKey.keyId)
      if (verifier !== undefined) env[RUNTIME_KEY_VARIABLES.signPublicKeyHex] = hexEncode(verifier)
      env[RUNTIME_KEY_VARIABLES.masterKeyHex] = runtimeKey.withBytes(hexEncode)
      try {
        return { child: await startChild(command, env, options), received: Promise.resolve() }
      } finally {
        delete env[RUNTIME_KEY_VARIABLES.masterKeyHex]
      }
    },
  }
}
