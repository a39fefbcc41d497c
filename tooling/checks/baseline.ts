/** Counts that may only fall: what a check still allows, in tooling/checks/baseline.json. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { report, root } from './workspace.ts'

/** Counted findings by what they are, `phrase in docs` for instance; each with its places. */
export type Findings = ReadonlyMap<string, readonly string[]>

type Baseline = Record<string, Record<string, number>>

const FILE = join(root, 'tooling/checks/baseline.json')
const MOST_SHOWN = 15

function readBaseline(): Baseline {
  return JSON.parse(readFileSync(FILE, 'utf8')) as Baseline
}

/**
 * Reports what there is more of than the baseline allows. With `--write` the baseline is lowered to what there is; it
 * is raised by hand only, with a reason in the commit. With `--list` every place is printed.
 *
 * @param check - Name of the check, and of its part of the baseline.
 */
export function reportAgainstBaseline(check: string, findings: Findings): void {
  const baseline = readBaseline()
  let allowed = baseline[check] ?? {}
  if (process.argv.includes('--write')) {
    const lowered = [...findings].map(([what, places]): [string, number] => [
      what,
      Math.min(places.length, allowed[what] ?? Infinity),
    ])
    const sorted = lowered.filter(([, count]) => count > 0).sort(([a], [b]) => (a < b ? -1 : 1))
    allowed = Object.fromEntries(sorted)
    writeFileSync(FILE, `${JSON.stringify({ ...baseline, [check]: allowed }, null, 2)}\n`)
  }
  if (process.argv.includes('--list'))
    for (const [what, places] of findings) for (const place of places) console.log(`${what}: ${place}`)
  const over = [...findings].flatMap(([what, places]) => {
    const limit = allowed[what] ?? 0
    if (places.length <= limit) return []
    const shown = places.slice(0, MOST_SHOWN).map((place) => `    ${place}`)
    const more = places.length > MOST_SHOWN ? [`    and ${places.length - MOST_SHOWN} more`] : []
    return [[`${what}: ${places.length}, allowed ${limit}`, ...shown, ...more].join('\n')]
  })
  const total = [...findings.values()].reduce((sum, places) => sum + places.length, 0)
  report(`${check} (${total} on the list of what is left)`, over)
}
