/** docs/runtimes.md says what the last recorded run of the programs found, and nothing else. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Results } from '../runtimes/outcome.ts'
import { runtimesPage } from '../runtimes/page.ts'
import { PACKAGES, RUNTIMES } from '../runtimes/runtimes.ts'
import { members, NODE_PACKAGES, report, root } from './workspace.ts'

const PAGE = join(root, 'docs/runtimes.md')
const results = JSON.parse(readFileSync(join(root, 'tooling/runtimes/results.json'), 'utf8')) as Results
const findings: string[] = []

if (!existsSync(PAGE) || readFileSync(PAGE, 'utf8') !== runtimesPage(results))
  findings.push('docs/runtimes.md is not what the recorded run says; run "node tooling/runtimes/run.ts --write"')
for (const { name } of RUNTIMES) if (results[name] === undefined) findings.push(`${name} was never run`)
for (const [name, { outcomes }] of Object.entries(results))
  for (const { program, feature, works, code = '' } of outcomes)
    if (!works && code === '') findings.push(`${name}: ${program}: ${feature} fails without a code`)
for (const { group, folder } of members())
  if (group === 'packages' && !NODE_PACKAGES.includes(folder) && !PACKAGES.includes(folder))
    findings.push(`${folder} has no program in tooling/runtimes`)
report('runtimes', findings)
