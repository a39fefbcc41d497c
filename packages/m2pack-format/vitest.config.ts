import { fileURLToPath } from 'node:url'
import { mergeConfig } from 'vitest/config'
import { vitestConfig } from '../../tooling/vitest/config.ts'

const zstd = fileURLToPath(new URL('src/node/zstd-accelerated.ts', import.meta.url))

export default mergeConfig(vitestConfig, { resolve: { alias: [{ find: /^#zstd$/, replacement: zstd }] } })
