import { mergeConfig } from 'vitest/config'
import { processTestConfig } from '../../tooling/vitest/config.ts'

// Most tests here start real processes, dozens of them in a row: patient on a busy machine.
export default mergeConfig(processTestConfig, { test: { testTimeout: 600_000, hookTimeout: 300_000 } })
