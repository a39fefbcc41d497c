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

const TARGET = join(root, 'docs/reliability.md')
/** `(row 17)`, `(rows 17, 18)`, `(rows 33 to 38)` in the name of a test. */
const MARK = /\(rows? ([0-9][0-9 ,to-]*)\)/g
const TITLE = /(?:it|test|describe)(?:\.[a-zA-Z]+(?:\([^)]*\))?)*\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g

function readRows(): Row[] {
  return readFileSync(join(root, 'tooling/catalogue/rows.tsv'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [number = '', place = '', what = ''] = line.split('\t')
      return { number: Number(number), place, what }
    })
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
      for (const [, , title = ''] of readFileSync(join(root, file), 'utf8').matchAll(TITLE)) {
        for (const [, list = ''] of title.matchAll(MARK)) {
          for (const number of numbers(list)) shown.set(number, [...(shown.get(number) ?? []), { file, title }])
        }
      }
    }
  }
  return shown
}

function cell({ file, title }: Shown): string {
  const text = title.replaceAll(MARK, '').replaceAll('|', '\\|').replaceAll(/\s+/g, ' ').trim()
  return `${text} ([${file.split('/').at(-1)}](../${file}))`
}

function document(rows: readonly Row[], shown: ReadonlyMap<number, readonly Shown[]>): string {
  const places = [...new Set(rows.map(({ place }) => place))]
  const covered = rows.filter(({ number }) => shown.has(number)).length
  const sections = places.map((place) => {
    const lines = rows
      .filter((row) => row.place === place)
      .map(({ number, what }) => `| ${number} | ${what} | ${(shown.get(number) ?? []).map(cell).join('; ') || '—'} |`)
    return `## ${place}\n\n| row | bad input or fault | shown by |\n|---|---|---|\n${lines.join('\n')}\n`
  })
  return `# Catalogue of bad inputs and faults

Each row is something that goes wrong, or that somebody does on purpose. The right column names the tests that show how it ends: the code of the refusal, and
that nothing changed that should not. This page is written by \`node tooling/checks/catalogue.ts --write\` from the names of the tests.

${covered} of ${rows.length} rows are shown by a test that names its row.

${sections.join('\n')}`
}

const rows = readRows()
const shown = readTests()
const text = document(rows, shown)
if (process.argv.includes('--write')) writeFileSync(TARGET, text)

const findings: string[] = []
const known = new Set(rows.map(({ number }) => number))
for (const [number, tests] of shown) {
  if (!known.has(number)) findings.push(`${tests[0]?.file}: names row ${number}, which the catalogue does not have`)
}
if (readFileSync(TARGET, 'utf8') !== text) findings.push('docs/reliability.md is not what the tests say; run this check with --write')
const missing = rows.filter(({ number }) => !shown.has(number)).map(({ number }) => number)
console.log(`  ${rows.length - missing.length} of ${rows.length} rows have a test${missing.length > 0 ? `; without: ${missing.join(' ')}` : ''}`)
report('catalogue', findings)
