#!/usr/bin/env node

const asksVersion = process.argv.length === 3 && (process.argv[2] === '--version' || process.argv[2] === '-V')
if (!asksVersion || !(await import('./version.ts')).printVersion()) {
  const { usePrivateCompileCache } = await import('./compile-cache.ts')
  usePrivateCompileCache() // before anything else is loaded
  const [{ runProcess }, { runM2pack }] = await Promise.all([import('./process.ts'), import('./m2pack/program.ts')])
  await runProcess(runM2pack)
}

export {}
