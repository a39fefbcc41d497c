import { mergeConfig } from 'vitest/config'
import { processTestConfig } from '../../tooling/vitest/config.ts'

// Most tests here start real processes, dozens of them in a row: patient on a busy machine. Some wait for an hour of a
// clock that cannot be moved; this package is the last one to end, so a third file uses that time.
export default mergeConfig(processTestConfig, { test: { maxWorkers: 3, testTimeout: 600_000, hookTimeout: 300_000 } })
