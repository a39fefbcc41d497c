export { processTestConfig as default } from '../../tooling/vitest/config.ts'
