/** Which documents of the repository are pages of the site, and where each of them is there. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { members, root } from '../checks/workspace.ts'

/** One document of the repository. */
export interface Page {
  /** From the root of the repository: `docs/guides/ci.md`. */
  readonly source: string
  /** From the root of the site: `guides/ci.md`. */
  readonly place: string
  /** Its first heading. */
  readonly title: string
}

/** Documents at the root that are pages, with their places. */
const ROOT_PAGES: Readonly<Record<string, string>> = {
  'README.md': 'introduction.md',
  'CONTRIBUTING.md': 'contributing.md',
  'SECURITY.md': 'security.md',
  'examples/README.md': 'examples.md',
}

function documents(): [source: string, place: string][] {
  return readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.md') && !/^(api|site)\//.test(name))
    .sort()
    .map((name) => [`docs/${name}`, name.replace(/README\.md$/, 'index.md')])
}

function memberPages(): [source: string, place: string][] {
  return members().map(({ group, folder }) => [
    `${group}/${folder}/README.md`,
    `${group === 'apps' ? 'programs' : 'packages'}/${folder}.md`,
  ])
}

/** The first heading of a Markdown text, without its marks. */
export function titleOf(text: string, otherwise: string): string {
  return (
    /^# (.+)$/m
      .exec(text)?.[1]
      ?.replaceAll(/[`*]/g, '')
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1') ?? otherwise
  )
}

/** Every page that comes from the repository, in a fixed order. */
export function pages(): Page[] {
  return [...Object.entries(ROOT_PAGES), ...documents(), ...memberPages()].map(([source, place]) => ({
    source,
    place,
    title: titleOf(readFileSync(join(root, source), 'utf8'), posix.basename(place, '.md')),
  }))
}
