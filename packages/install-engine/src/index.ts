export { createEngine } from './engine.ts'
export { diskError, folderGone, LauncherError, launcherErrors } from './errors.ts'
export { keepSettings, settingsFor, storedSettings, toEngineOptions, withAccessCode } from './install-settings.ts'
export { launcherVersion } from './options.ts'
export { parseAccessCode, parseSettings, readAccessCode } from './settings.ts'
export { updatesFolder } from './disk/layout.ts'
export { uninstall } from './place/uninstall.ts'
export { nodeFetch } from './fetch/node-fetch.ts'
export { NoiseRuntimeKeys } from './start/noise-runtime-keys.ts'
export { DeviceKey } from './start/device-key.ts'
export type {
  Engine,
  EngineStatus,
  PublishedStatus,
  LaunchOptions,
  LaunchResult,
  Offer,
  UpdateResult,
} from './engine-interface.ts'
export type { LauncherErrorCode } from './errors.ts'
export type { EngineEvent, EngineState, PlanSummary, Progress, TrustStatus } from './events.ts'
export type { InstallFlags } from './install-settings.ts'
export type { EngineOptions } from './options.ts'
export type { DeliveryName, Settings, Target } from './settings.ts'
export type { Fetch, HttpLimits } from './fetch/http.ts'
export type { ResolveHost } from './fetch/near-name.ts'
export type { RetryPolicy } from './fetch/source.ts'
export type { UpdateOptions } from './update-options.ts'
export type { PreloadOptions, PreloadResult } from './preload-flow.ts'
export type { UninstallOptions, UninstallResult } from './place/uninstall.ts'
export type { StartedClient } from './start/launch.ts'
export type { NoiseRuntimeKeysOptions } from './start/noise-runtime-keys.ts'
export type { RuntimeKeyProvider } from './start/runtime-key.ts'
