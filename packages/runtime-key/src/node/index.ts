export { suppressCoreDumps } from './core-dumps.ts'
export { cleanEnvironment, DEFAULT_DELIVERY_TIMEOUT_MS, RUNTIME_KEY_VARIABLES } from './delivery.ts'
export { deliveryNamed } from './delivery-named.ts'
export { envDelivery } from './env-delivery.ts'
export { fdDelivery, KEY_FD } from './fd-delivery.ts'
export { readRuntimeKeyFile } from './read-file.ts'
export { receiveRuntimeKey } from './receive.ts'
export { sharedMemoryDelivery, sweepSharedMemory } from './shared-memory-delivery.ts'
export { posixSharedMemory, SHARED_MEMORY_FOLDER } from './shared-memory.ts'
export { windowsSharedMemory } from './windows-shared-memory.ts'

export type { CoreDumpResult } from './core-dumps.ts'
export type {
  ChildCommand,
  DeliveredChild,
  DeliveryOptions,
  InheritedVariableWarning,
  RuntimeKeyDelivery,
} from './delivery.ts'
export type { ReceiveOptions } from './receive.ts'
export type { SharedMemoryDeliveryOptions } from './shared-memory-delivery.ts'
export type { PosixSharedMemoryOptions, SharedMemory, SharedMemoryProvider } from './shared-memory.ts'
export type { WindowsMappingApi } from './windows-shared-memory.ts'
