/** The error codes as pages: what `keyturn explain` says, one page for each package. */
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { exitCodes } from '@keyturn/primitives'
import { root } from '../checks/workspace.ts'

interface Explanation {
  readonly kind: keyof typeof exitCodes
  readonly meaning: string
  readonly remedy: string
}

interface Catalogue {
  readonly packageName: string
  readonly catalogue: Readonly<Record<string, Explanation>>
}

/** A page that is made here, and has no document in the repository. */
export interface MadePage {
  readonly place: string
  readonly title: string
  readonly text: string
}

/** The pages of all error codes, with a first one that lists them. */
export async function errorPages(): Promise<MadePage[]> {
  const built = pathToFileURL(join(root, 'apps/cli/dist/catalogues.js')).href
  const { allCatalogues } = (await import(built)) as { allCatalogues(): Promise<Catalogue[]> }
  const catalogues = (await allCatalogues()).filter(({ catalogue }) => Object.keys(catalogue).length > 0)
  return [index(catalogues), ...catalogues.map(onePage)]
}

const placeOf = (packageName: string): string => packageName.replace('@keyturn/', '')

function index(catalogues: readonly Catalogue[]): MadePage {
  const rows = catalogues.flatMap(({ packageName, catalogue }) =>
    Object.entries(catalogue).map(([code, { kind, meaning }]) => {
      const address = `./${placeOf(packageName)}.md#${code.toLowerCase()}`
      return `| [\`${code}\`](${address}) | ${exitCodes[kind]} | ${escaped(meaning)} |`
    }),
  )
  const text = [
    '# Error codes',
    '',
    'Every refusal has a code that stays the same while messages may change. The exit code of a program tells the',
    'kind. Scripts can rely on both. In a terminal, `keyturn explain CODE` says what these pages say.',
    '',
    '| code | exit | meaning |',
    '|---|---|---|',
    ...rows,
  ]
  return { place: 'errors/index.md', title: 'Error codes', text: `${text.join('\n')}\n` }
}

function onePage({ packageName, catalogue }: Catalogue): MadePage {
  const sections = Object.entries(catalogue).map(([code, { kind, meaning, remedy }]) => {
    const parts = [`## ${code}`, escaped(meaning), `**What to do:** ${escaped(remedy)}`]
    return `${parts.join('\n\n')}\n\nKind: ${kind}; exit code ${exitCodes[kind]}.\n`
  })
  const title = `Errors of ${packageName}`
  return { place: `errors/${placeOf(packageName)}.md`, title, text: [`# ${title}\n`, ...sections].join('\n') }
}

const escaped = (text: string): string => text.replaceAll(/([|<>*_[\]])/g, '\\$1')
