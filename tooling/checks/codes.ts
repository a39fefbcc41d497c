/** Counts error codes that nothing throws, and codes that no test names. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { reportAgainstBaseline } from './baseline.ts'
import { root, trackedFiles } from './workspace.ts'

const ENTRY = /^ {2}([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+): \{/gm
const CODE = /\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g

const files = trackedFiles()
const catalogues = files.filter((file) => /^(?:packages|apps)\/[^/]+\/src\/(?:.*\/)?errors\.ts$/.test(file))
const known = new Map(
  catalogues.flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(ENTRY)].map((match): [string, string] => [
      match[1] as string,
      file,
    ]),
  ),
)

/** The catalogued codes that some files name; an entry of a catalogue names nothing. */
function codesIn(names: readonly string[]): Set<string> {
  const found = new Set<string>()
  for (const name of names) {
    const text = readFileSync(join(root, name), 'utf8')
    const rest = catalogues.includes(name) ? text.replaceAll(ENTRY, '') : text
    for (const [code] of rest.matchAll(CODE)) if (known.has(code)) found.add(code)
  }
  return found
}

const thrown = codesIn(files.filter((file) => /^(?:packages|apps)\/[^/]+\/src\/.*\.ts$/.test(file)))
const tested = codesIn(
  files.filter((file) => /^(?:packages|apps|examples|tooling)\/.*\btest\/.*\.(?:ts|json)$/.test(file)),
)
const places = (missing: ReadonlySet<string>): string[] =>
  [...known].flatMap(([code, file]) => (missing.has(code) ? [] : [`${code} (${file})`]))
reportAgainstBaseline(
  'codes',
  new Map([
    ['codes that nothing throws', places(thrown)],
    ['codes that no test names', places(tested)],
  ]),
)
