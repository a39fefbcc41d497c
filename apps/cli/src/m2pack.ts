#!/usr/bin/env node

if (process.argv.length === 3 && (process.argv[2] === '--version' || process.argv[2] === '-V')) {
  const { version } = await import('./version.ts')
  process.stdout.write(`${version()}\n`)
} else {
  const { usePrivateCompileCache } = await import('./compile-cache.ts')
  usePrivateCompileCache() // before anything else is loaded
  const [{ runProcess }, { runM2pack }] = await Promise.all([import('./process.ts'), import('./m2pack/program.ts')])
  await runProcess(runM2pack)
}

export {}
