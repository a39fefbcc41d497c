/** Compares READMEs and docs with the code: each README has its parts, and lists every error code of its package. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { installedNames, readOnNpm, saysNotYet } from '../release/not-yet.ts'
import { members, report, root } from './workspace.ts'
import type { Member } from './workspace.ts'

const CODE = /^[A-Z]+(?:_[A-Z0-9]+)+$/

/** Codes of every error catalogue that a built entry point exports. */
async function catalogueCodes(entry: string): Promise<string[]> {
  const face = (await import(pathToFileURL(entry).href)) as Record<string, unknown>
  return Object.entries(face)
    .filter(([name]) => name.endsWith('Errors'))
    .flatMap(([, catalogue]) => Object.keys(catalogue as object).filter((code) => CODE.test(code)))
}

/** What someone who takes one package looks for, in this order. */
const PARTS = ['Install', 'Example', 'What there is', 'Errors', 'Limits', 'Security notes']

/** Parts of a package's README that are missing or out of order, and what its Install part has to say. */
function readmeFlaws({ folder, group, manifest }: Member, text: string): string[] {
  if (group === 'apps') return []
  const headings = [...text.matchAll(/^## (.+)$/gm)].map((match) => match[1] as string)
  const found = headings.filter((heading) => PARTS.includes(heading))
  const order =
    found.join() === PARTS.join()
      ? []
      : [`${folder}/README.md has the parts ${found.join(', ')}; expected ${PARTS.join(', ')}`]
  const install = /^## Install\n([\s\S]*?)^## /m.exec(text)?.[1] ?? ''
  const subpaths = Object.entries(manifest.exports ?? {})
    .filter(([, target]) => typeof target !== 'string')
    .map(([subpath]) => subpath)
  const wanted = [
    `npm install ${manifest.name}`,
    'browsers',
    'Node ≥',
    ...(subpaths.length > 1 ? subpaths.map((subpath) => `\`${subpath}\``) : []),
  ]
  const said = wanted
    .filter((words) => !install.includes(words))
    .map((words) => `${folder}/README.md does not say "${words}" under Install`)
  return [...order, ...said, ...(text.includes('](examples/') ? [] : [`${folder}/README.md links to no example`])]
}

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules') && !/^(api|site)\//.test(name))
    .map((name) => join(folder, name))
}

/** Relative links whose target does not exist. */
function brokenLinks(file: string): string[] {
  const text = readFileSync(file, 'utf8').replaceAll(/```[\s\S]*?```/g, '')
  return [...text.matchAll(/\]\((?!https?:|mailto:|#)([^)\s#]+)(?:#[^)]*)?\)/g)]
    .map((match) => match[1] as string)
    .filter((target) => !existsSync(normalize(join(dirname(file), target))))
    .map((target) => `${relative(root, file)}: links to ${target}, which does not exist`)
}

/** Codes that a document names but no catalogue has. */
function unknownCodes(file: string, known: ReadonlySet<string>): string[] {
  const prefixes = new Set([...known].map((code) => code.split('_')[0] as string))
  const named = [...readFileSync(file, 'utf8').matchAll(/`([A-Z0-9]+(?:_[A-Z0-9]+)+)`/g)].map(
    (match) => match[1] as string,
  )
  return [...new Set(named)]
    .filter((code) => prefixes.has(code.split('_')[0] as string) && !known.has(code))
    .map((code) => `${relative(root, file)}: names ${code}, which no catalogue has`)
}

/**
 * The owner of a name that a document says to install can run code on the reader's machine. So documents say when a
 * package is not on npm yet, and stop saying so once it was found there.
 */
function unpublishedNames(file: string, onNpm: ReadonlySet<string>): string[] {
  const text = readFileSync(file, 'utf8')
  const names = installedNames(text)
  const missing = names.filter((name) => !onNpm.has(name))
  if (missing.length > 0 && !saysNotYet(text))
    return [`${relative(root, file)}: says to install ${missing.join(', ')}, and not that it is "not on npm yet"`]
  return missing.length === 0 && names.length > 0 && saysNotYet(text)
    ? [`${relative(root, file)}: says "not on npm yet" of packages that are on npm`]
    : []
}

/** A changeset that names a package which does not exist stops "changeset version", and with it the release. */
function changesetsOfNothing(): string[] {
  const names = new Set(members().map(({ manifest }) => manifest.name))
  const folder = join(root, '.changeset')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) => {
      const head = readFileSync(join(folder, name), 'utf8').split(/^---$/m)[1] ?? ''
      const named = [...head.matchAll(/^['"]?([^'":\n]+)['"]?:/gm)].map((match) => match[1] as string)
      return named.filter((wanted) => !names.has(wanted)).map((wanted) => `.changeset/${name}: no package ${wanted}`)
    })
}

/** Decisions are cited by number: each has one of its own, in its name and in its title. */
function decisionNumbers(): string[] {
  const seen = new Map<string, string>()
  return readdirSync(join(root, 'docs/decisions')).flatMap((name) => {
    const number = name.slice(0, 4)
    const other = seen.get(number)
    seen.set(number, name)
    const title = readFileSync(join(root, 'docs/decisions', name), 'utf8').split('\n', 1)[0] ?? ''
    return [
      ...(other === undefined ? [] : [`docs/decisions/${name} has the number of ${other}`]),
      ...(title.startsWith(`# ${number}: `) ? [] : [`docs/decisions/${name}: its title is not "# ${number}: …"`]),
    ]
  })
}

const MEASURES = /limit|wanted|goal|aim|promised|against|ratio/i

/** Tables of figures that name no limit to compare the figures with. */
function figuresWithoutLimit(file: string): string[] {
  const tables = [...readFileSync(file, 'utf8').matchAll(/^\|.*\n\|[-|]+\n(?:\|.*\n)*/gm)].map(([table]) => table)
  return tables
    .filter((table) => !MEASURES.test(table))
    .map((table) => `docs/benchmarks.md: "${table.split('\n')[0]}" names no limit beside its figures`)
}

const known = new Set<string>()
const findings: string[] = decisionNumbers()
for (const member of members()) {
  const { folder, path, manifest } = member
  const readme = join(path, 'README.md')
  if (!existsSync(readme)) {
    findings.push(`${folder}: has no README.md`)
    continue
  }
  const text = readFileSync(readme, 'utf8')
  findings.push(...readmeFlaws(member, text))
  const entry = manifest.exports?.['.']
  if (typeof entry === 'object') {
    for (const code of await catalogueCodes(join(path, entry.default))) {
      known.add(code)
      if (!text.includes(code)) findings.push(`${folder}/README.md does not list ${code}`)
    }
  }
}
const onNpm = readOnNpm()
const documents = [
  ...readdirSync(root)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, name)),
  ...markdownFiles(join(root, 'docs')),
  join(root, 'examples/README.md'),
  ...members()
    .map(({ path }) => join(path, 'README.md'))
    .filter((file) => existsSync(file)),
]
findings.push(
  ...changesetsOfNothing(),
  ...figuresWithoutLimit(join(root, 'docs/benchmarks.md')),
  ...documents.flatMap(brokenLinks),
  ...documents.flatMap((file) => unpublishedNames(file, onNpm)),
  ...documents.flatMap((file) => unknownCodes(file, known)),
)
report(`documents (${documents.length})`, findings)
