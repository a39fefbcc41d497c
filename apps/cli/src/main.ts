#!/usr/bin/env node

const asksVersion = process.argv.length === 3 && (process.argv[2] === '--version' || process.argv[2] === '-V')
if (!asksVersion || !(await import('./version.ts')).printVersion()) {
  const { usePrivateCompileCache } = await import('./compile-cache.ts')
  usePrivateCompileCache() // before anything else is loaded
  const [{ runProcess }, { run }] = await Promise.all([import('./process.ts'), import('./program.ts')])
  await runProcess(run)
}

export {}
