#!/usr/bin/env node
import { enableCompileCache } from 'node:module'

// Before anything else is loaded: from the second start on the modules come compiled.
enableCompileCache()

if (process.argv.length === 3 && (process.argv[2] === '--version' || process.argv[2] === '-V')) {
  const { version } = await import('./version.ts')
  process.stdout.write(`${version()}\n`)
} else {
  const [{ runProcess }, { run }] = await Promise.all([import('./process.ts'), import('./program.ts')])
  await runProcess(run)
}
