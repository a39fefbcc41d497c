import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig, mergeConfig } from 'vitest/config'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Manifest {
  name: string
  exports?: Record<string, string | { default: string }>
}

/** Maps every workspace entry point to its source, so that tests never run against a stale build. */
function sourceAliases(): { find: RegExp; replacement: string }[] {
  const aliases = []
  for (const group of ['packages', 'apps']) {
    for (const folder of readdirSync(`${root}${group}`)) {
      const file = `${root}${group}/${folder}/package.json`
      if (!existsSync(file)) continue
      const manifest = JSON.parse(readFileSync(file, 'utf8')) as Manifest
      for (const [subpath, target] of Object.entries(manifest.exports ?? {})) {
        if (typeof target === 'string') continue
        const source = target.default.replace('./dist/', '').replace(/\.js$/, '.ts')
        aliases.push({
          find: new RegExp(`^${manifest.name}${subpath.slice(1)}$`),
          replacement: `${root}${group}/${folder}/src/${source}`,
        })
      }
    }
  }
  return aliases
}

export const vitestConfig = defineConfig({
  resolve: {
    alias: [
      { find: /^#backend$/, replacement: `${root}packages/primitives/src/backend/accelerated.ts` },
      ...sourceAliases(),
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // No test decides by time. The limits are for tests that hang, and are long enough for a busy machine.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // A shared machine can stop a process for seconds. The report marks what passed only at the second try; locally
    // nothing is retried.
    retry: process.env['CI'] === undefined ? 0 : 1,
    passWithNoTests: false,
    setupFiles: process.env['KEYTURN_CAMPAIGN_SEED'] === undefined ? [] : [`${root}tooling/vitest/campaign-seed.ts`],
    reporters: ['default'],
  },
})

/** For tests that mostly wait for processes and servers: two files at a time, on two cores too. */
export const processTestConfig = mergeConfig(vitestConfig, { test: { maxWorkers: 2 } })
