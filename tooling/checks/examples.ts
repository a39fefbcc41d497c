/** Runs every example of every package and app, as its README says: plain Node, on what was built. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { members, report, sourceFiles } from './workspace.ts'

const TIMEOUT_MS = 120_000
const findings: string[] = []
let count = 0
for (const { folder, path } of members()) {
  const examples = sourceFiles(join(path, 'examples'))
  if (examples.length === 0) findings.push(`${folder}: has no example`)
  for (const name of examples) {
    count++
    const run = spawnSync(process.execPath, [join('examples', name)], { cwd: path, encoding: 'utf8', timeout: TIMEOUT_MS })
    if (run.status !== 0) findings.push(`${folder}/examples/${name} ended with ${run.status ?? run.signal}:\n${run.stdout}${run.stderr}`)
  }
}
report(`examples (${count})`, findings)
