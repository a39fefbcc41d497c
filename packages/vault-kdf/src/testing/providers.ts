import { systemRandom } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { kekProvider } from '../kek-provider.ts'
import { KEY_BYTES } from '../limits.ts'
import type { MasterKeyProvider, WrapContext } from '../master-key-provider.ts'

/** A provider whose key-encryption key lives in memory only: for tests and throw-away vaults. */
export function memoryProvider(random: RandomSource = systemRandom): MasterKeyProvider {
  return kekProvider('memory', random(KEY_BYTES), random)
}

/** What a {@link faultyProvider} does besides. */
export interface ProviderFaults {
  /** Waits this long before each answer. */
  latencyMs: number
  /** Fails every call while `true`. */
  down: boolean
}

/** A provider with injected latency and failures; the returned `faults` may be changed at any time. For tests. */
export function faultyProvider(
  inner: MasterKeyProvider,
  faults: ProviderFaults = { latencyMs: 0, down: false },
): MasterKeyProvider & { faults: ProviderFaults } {
  const meet = async (): Promise<void> => {
    if (faults.latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, faults.latencyMs))
    if (faults.down) throw new Error('planned outage')
  }
  return {
    id: inner.id,
    faults,
    generate: async (context) => (await meet(), inner.generate(context)),
    unwrap: async (wrapped, context) => (await meet(), inner.unwrap(wrapped, context)),
    ...(inner.wrap === undefined
      ? {}
      : {
          wrap: async (plaintext: Uint8Array, context: WrapContext) => (
            await meet(),
            inner.wrap?.(plaintext, context) ?? plaintext
          ),
        }),
    ...(inner.rewrap === undefined
      ? {}
      : {
          rewrap: async (wrapped: Uint8Array, context: WrapContext) => (
            await meet(),
            inner.rewrap?.(wrapped, context) ?? wrapped
          ),
        }),
  }
}
