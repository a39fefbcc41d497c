/** Writes docs/reliability.md: every row of the catalogue of bad inputs and faults, with the tests that show it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { members, report, root, sourceFiles } from './workspace.ts'

interface Row {
  readonly number: number
  readonly place: string
  readonly what: string
}

interface Shown {
  readonly file: string
  readonly title: string
}

const NOT_SHOWN = join(root, 'tooling/catalogue/not-shown.tsv')
const TARGET = join(root, 'docs/reliability.md')
/** `(row 17)`, `(rows 17, 18)`, `(rows 33 to 38)` in the name of a test. */
const MARK = /\(rows? ([0-9][0-9 ,to-]*)\)/g
const TITLE = /(?:it|test|describe)(?:\.[a-zA-Z]+(?:\((?:[^()]|\([^()]*\))*\))?)*\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g

function readRows(): Row[] {
  return readFileSync(join(root, 'tooling/catalogue/rows.tsv'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [number = '', place = '', what = ''] = line.split('\t')
      return { number: Number(number), place, what }
    })
}

/** Rows without a test, with the reason: a debt that is named and counted. */
function readNotShown(): Map<number, string> {
  const lines = readFileSync(NOT_SHOWN, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const [number = '', reason = ''] = line.split('\t')
      return [Number(number), reason]
    }),
  )
}

function numbers(list: string): number[] {
  return list.split(',').flatMap((part) => {
    const [first = NaN, last = first] = part.split(/to|-/).map((text) => Number(text.trim()))
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

function readTests(): Map<number, Shown[]> {
  const shown = new Map<number, Shown[]>()
  for (const { path } of members()) {
    for (const name of sourceFiles(join(path, 'test'))) {
      const file = relative(root, join(path, 'test', name))
      for (const [, , quoted = ''] of readFileSync(join(root, file), 'utf8').matchAll(TITLE)) {
        const title = quoted.replaceAll(/\\(['"`\\])/g, '$1')
        for (const [, list = ''] of title.matchAll(MARK)) {
          for (const number of numbers(list)) shown.set(number, [...(shown.get(number) ?? []), { file, title }])
        }
      }
    }
  }
  return shown
}

function cell({ file, title }: Shown): string {
  const text = title
    .replaceAll(MARK, '')
    .replaceAll(/\\(['"`])/g, '$1')
    .replaceAll('|', '\\|')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/ (?=[,;:])/g, '')
    .trim()
  return `${text} ([${file.split('/').at(-1)}](../${file}))`
}

function document(
  rows: readonly Row[],
  shown: ReadonlyMap<number, readonly Shown[]>,
  notShown: ReadonlyMap<number, string>,
): string {
  const places = [...new Set(rows.map(({ place }) => place))]
  const covered = rows.filter(({ number }) => shown.has(number)).length
  const sections = places.map((place) => {
    const lines = rows
      .filter((row) => row.place === place)
      .map(
        ({ number, what }) =>
          `| ${number} | ${what} | ` +
          `${(shown.get(number) ?? []).map(cell).join('; ') || `not shown: ${notShown.get(number) ?? '—'}`} |`,
      )
    return `## ${place}\n\n| row | bad input or fault | shown by |\n|---|---|---|\n${lines.join('\n')}\n`
  })
  return `# Catalogue of bad inputs and faults

Each row is something that can go wrong, or that someone does on purpose. The right column names the tests that show how it ends: with the code of the refusal, and
with nothing changed that should not change. \`node tooling/checks/catalogue.ts --write\` writes this page from the names of the tests.

${covered} of ${rows.length} rows have a test that names the row${notShown.size === 0 ? '' : `; ${notShown.size} do not: ${[...notShown.keys()].join(', ')}`}.

${sections.join('\n')}`
}

/** The right column of each row of a page. */
function claims(page: string): Map<string, readonly string[]> {
  const lines = page
    .split('\n')
    .filter((line) => /^\| \d+ \|/.test(line))
    .map((line) => line.slice(2, -2).split(' | '))
  return new Map(lines.map(([row = '', , ...right]) => [row, right.join(' | ').split('; ')]))
}

/**
 * What the page says and the tests do not. A test that the page does not name yet does no harm: the page may lag behind
 * by additions.
 */
function stalePage(page: string, fresh: string): string[] {
  if (page !== fresh) console.log('  docs/reliability.md lags behind the tests; --write brings it up to date')
  const real = claims(fresh)
  return [...claims(page)]
    .filter(([row, said]) => said.some((claim) => claim.includes('](../') && !(real.get(row) ?? []).includes(claim)))
    .map(
      ([row]) => `docs/reliability.md names a test for row ${row} that no longer exists; run this check with --write`,
    )
}

const rows = readRows()
const shown = readTests()
const notShown = readNotShown()
const text = document(rows, shown, notShown)
if (process.argv.includes('--write')) writeFileSync(TARGET, text)

const findings: string[] = []
const known = new Set(rows.map(({ number }) => number))
for (const [number, tests] of shown) {
  if (!known.has(number)) findings.push(`${tests[0]?.file}: names row ${number}, which the catalogue does not have`)
}
findings.push(...stalePage(readFileSync(TARGET, 'utf8'), text))
for (const { number, what } of rows) {
  if (!shown.has(number) && !notShown.has(number)) findings.push(`no test shows row ${number}: ${what}`)
  if (shown.has(number) && notShown.has(number))
    console.log(`  row ${number} is listed as not shown, but a test shows it: remove it from the list`)
}
console.log(
  `  ${rows.filter(({ number }) => shown.has(number)).length} of ${rows.length} rows have a test; not ` +
    `shown: ${notShown.size}`,
)
for (const [number, reason] of notShown) {
  console.log(`    row ${number}: ${reason}`)
  if (!known.has(number) || reason.trim() === '')
    findings.push(`tooling/catalogue/not-shown.tsv: row ${number} does not exist, or has no reason`)
}
report('catalogue', findings)
