/** Runs every example as its README says: with plain Node, on the build. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { members, report, root, sourceFiles } from './workspace.ts'

/** For an example that hangs; long enough for a busy machine. */
const TIMEOUT_MS = 300_000
const findings: string[] = []
let count = 0

function runExample(folder: string, cwd: string, name: string): void {
  count++
  const run = spawnSync(process.execPath, [name], { cwd, encoding: 'utf8', timeout: TIMEOUT_MS })
  if (run.status !== 0)
    findings.push(`${folder}/${name} ended with ${run.status ?? run.signal}:\n${run.stdout}${run.stderr}`)
}

for (const { folder, path } of members()) {
  const examples = sourceFiles(join(path, 'examples'))
  if (examples.length === 0) findings.push(`${folder}: has no example`)
  for (const name of examples) runExample(folder, path, join('examples', name))
}
// These use several packages. The page among them has a test of its own.
for (const name of readdirSync(join(root, 'examples')).filter(
  (file) => file.endsWith('.ts') && file !== 'vitest.config.ts',
)) {
  runExample('examples', join(root, 'examples'), name)
}
report(`examples (${count})`, findings)
