/**
 * Keeps phrases from coming back that are not plain English here, docs/glossary.md. A line that needs one says `words:
 * allow`.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { reportAgainstBaseline } from './baseline.ts'
import { root, trackedFiles } from './workspace.ts'

interface Phrase {
  readonly name: string
  readonly pattern: RegExp
  /** What to write instead. */
  readonly instead: string
}

const PHRASES: readonly Phrase[] = [
  {
    name: 'turn a key',
    pattern: /\bturn(?:s|ed|ing)? (?:\w+ ){0,3}keys?\b|\bkeys? turns?\b/i,
    instead: 'rotate, a rotation',
  },
  // Alone it is a member of the JSON of "status" and "doctor".
  { name: 'mend', pattern: /\bmend(?:s|ed|ing)\b|\bmend(?= \w)/i, instead: 'fix, repair' },
  {
    name: 'due for a mismatch',
    pattern: /(?:\}|\d|\bbytes|\bdigits|\bcharacters|\bfields?|\bvalues?) (?:is|are|was|were) due\b/,
    instead: 'expected X, got Y',
  },
  {
    name: 'could not be had',
    pattern: /\b(?:can|cannot|could|could not|may|must) be had\b/i,
    instead: 'could not be fetched, read or found',
  },
  {
    name: 'is no X',
    pattern:
      /(?<!\bthere )\b(?:is|are) no (?!longer\b|more\b|less\b|better\b|worse\b|different\b|one\b|stronger\b|reason\b|need\b|way\b|use\b|harm\b)[a-z]/i,
    instead: 'is not a',
  },
  {
    name: 'is told',
    pattern: /\b(?:is|are|was|were|be|been) told\b(?! (?:apart|from)\b)/i,
    instead: 'is notified, gets, prints',
  },
  {
    name: 'lies, stands',
    pattern: /\b(?:lies?|lay|stands?|stood) (?:in|on|below|beside|behind|under|elsewhere|there)\b/i,
    instead: 'is, is stored, is listed',
  },
  { name: 'anew', pattern: /\banew\b/i, instead: 'again' },
  { name: 'for ever', pattern: /\bfor ever\b/i, instead: 'forever' },
  { name: 'whoever', pattern: /\bwhoever\b/i, instead: 'anyone who' },
  { name: 'is through', pattern: /\b(?:is|are|was|were) (?:not )?through\b/i, instead: 'finished' },
  { name: 'he, his', pattern: /\b(?:[Hh]e|[Hh]is|[Hh]im|[Hh]imself)\b/, instead: 'they, their' },
  {
    name: 'hands over',
    pattern: /\b(?:hand|hands|handed|handing) over\b|\btak(?:es?|ing) along\b|\bchanges? hands\b/i,
    instead: 'delivers, includes, is transferred',
  },
  { name: 'a crowd', pattern: /\bcrowds?\b/i, instead: 'a burst of connections' },
  { name: 'make of', pattern: /\bmakes? a home of\b/i, instead: 'restores a home folder from' },
  { name: 'judge', pattern: /\bjudg(?:e|es|ed|ing)\b/i, instead: 'verify, check' },
]

const TEXT = /\.(?:ts|mjs|md|yml|json|tsv|c|h)$/
const LEFT_OUT =
  /^docs\/(?:reliability|benchmarks)\.md$|(?:^|\/)(?:golden|vectors|states|broken|__snapshots__)\/|CHANGELOG\.md$|pnpm-lock|tooling\/checks\/(?:words\.ts|baseline\.json)$/
const ALLOWED = 'words: allow'

/** Source, docs or tooling: a file that moves within one of them brings its phrases along. */
function areaOf(file: string): string {
  if (/^(?:tooling|\.github|\.ci)\//.test(file)) return 'tooling'
  return file.endsWith('.md') ? 'docs' : 'source'
}

const findings = new Map<string, string[]>()
for (const file of trackedFiles().filter((name) => TEXT.test(name) && !LEFT_OUT.test(name))) {
  const area = areaOf(file)
  const text = readFileSync(join(root, file), 'utf8')
  for (const [index, line] of text.split('\n').entries()) {
    for (const { name, pattern, instead } of PHRASES) {
      if (!pattern.test(line) || line.includes(ALLOWED)) continue
      const what = `"${name}" in ${area}, write: ${instead}`
      findings.set(what, [...(findings.get(what) ?? []), `${file}:${index + 1}: ${line.trim().slice(0, 140)}`])
    }
  }
}
reportAgainstBaseline('words', findings)
