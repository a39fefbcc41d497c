export { vitestConfig as default } from '../../tooling/vitest/config.ts'
