import { setTimeout as sleep } from 'node:timers/promises'
import type { ChildProcess } from 'node:child_process'
import { systemRandom, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { writeRuntimeKeyBlob } from '../blob.ts'
import {
  awaitReceipt,
  cleanEnvironment,
  DEFAULT_DELIVERY_TIMEOUT_MS,
  RUNTIME_KEY_VARIABLES,
  startChild,
} from './delivery.ts'
import type { ChildCommand, DeliveredChild, DeliveryOptions, RuntimeKeyDelivery } from './delivery.ts'
import { posixSharedMemory } from './shared-memory.ts'
import type { SharedMemory, SharedMemoryProvider } from './shared-memory.ts'
import type { RuntimeKey } from '../runtime-key.ts'

const POLL_MS = 15

/** How {@link sharedMemoryDelivery} works. */
export interface SharedMemoryDeliveryOptions extends DeliveryOptions {
  /** Folder of the POSIX mappings; `/dev/shm` by default. */
  readonly folder?: string | undefined
  /** Source of the name's random suffix. */
  readonly random?: RandomSource | undefined
  /** What makes the mapping; chosen by the platform by default. */
  readonly provider?: SharedMemoryProvider | undefined
}

/**
 * Delivery through shared memory: the child gets a name, takes the blob, zeroes and removes it. What it does not
 * take is zeroed and removed at the deadline or at its end; what a killed parent left is removed at the next start.
 */
export function sharedMemoryDelivery(options: SharedMemoryDeliveryOptions = {}): RuntimeKeyDelivery {
  const { timeoutMs = DEFAULT_DELIVERY_TIMEOUT_MS } = options
  return {
    name: 'shared-memory',
    async deliver(runtimeKey: RuntimeKey, command: ChildCommand): Promise<DeliveredChild> {
      const provider = await chooseProvider(options)
      await provider.sweep()
      const memory = await fill(provider, runtimeKey)
      let child: ChildProcess
      try {
        const env = cleanEnvironment(command.env ?? process.env, options.onInherited)
        env[RUNTIME_KEY_VARIABLES.mapping] = memory.name
        child = await startChild(command, env, options)
      } catch (error) {
        await memory.remove()
        throw error
      }
      const received = awaitReceipt(child, timeoutMs, (signal) => untilTaken(memory, signal)).finally(() =>
        memory.remove(),
      )
      return { child, received }
    },
  }
}

/** Removes the mappings that killed launchers have left; the launcher calls it when it starts. */
export async function sweepSharedMemory(options: SharedMemoryDeliveryOptions = {}): Promise<number> {
  return (await chooseProvider(options)).sweep()
}

async function chooseProvider(options: SharedMemoryDeliveryOptions): Promise<SharedMemoryProvider> {
  if (options.provider !== undefined) return options.provider
  const random = options.random ?? systemRandom
  if (process.platform === 'win32') return (await import('./windows-shared-memory.ts')).windowsSharedMemory({ random })
  return posixSharedMemory({ random, folder: options.folder })
}

async function fill(provider: SharedMemoryProvider, runtimeKey: RuntimeKey): Promise<SharedMemory> {
  const blob = writeRuntimeKeyBlob(runtimeKey)
  try {
    return await provider.create(blob)
  } finally {
    wipe(blob)
  }
}

async function untilTaken(memory: SharedMemory, signal: AbortSignal): Promise<void> {
  while (!(await memory.taken())) {
    if (signal.aborted) {
      // The child may have taken it between the last look and its own end.
      if (await memory.taken()) return
      throw signal.reason as Error
    }
    await sleep(POLL_MS)
  }
}
