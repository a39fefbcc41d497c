export { faultyProvider, memoryProvider } from './providers.ts'
export { sealLegacyForTest } from './seal-legacy.ts'
export type { ProviderFaults } from './providers.ts'
