/** The side bar, and the pages that only lead to others. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, root } from '../checks/workspace.ts'
import type { MadePage } from './error-pages.ts'
import type { Page } from './pages.ts'

interface Item {
  readonly text: string
  readonly link?: string
  readonly collapsed?: boolean
  readonly items?: readonly Item[]
}

const linkOf = (place: string): string => `/${place.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '')}`
const item = ({ place, title }: { place: string; title: string }): Item => ({ text: title, link: linkOf(place) })
const within = (pages: readonly Page[], folder: string): Page[] =>
  pages.filter(({ place }) => place.startsWith(`${folder}/`) && !place.endsWith('/index.md'))

/** Guides in the order and the groups of their own table of contents. */
function guideGroups(pages: readonly Page[]): Item[] {
  const text = readFileSync(join(root, 'docs/guides/README.md'), 'utf8')
  return text
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const places = [...section.matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, name]) => `guides/${name}`)
      const items = places.flatMap((place) => pages.filter((page) => page.place === place).map(item))
      return { text: section.split('\n', 1)[0] ?? '', collapsed: false, items }
    })
}

const REFERENCE = [
  'architecture.md',
  'features.md',
  'runtimes.md',
  'compare.md',
  'glossary.md',
  'threat-model.md',
  'compatibility.md',
  'reliability.md',
  'benchmarks.md',
  'security.md',
  'contributing.md',
]

/** The side bar of every page. */
export function sidebar(pages: readonly Page[], errors: readonly MadePage[]): Item[] {
  const at = (place: string): Item[] => pages.filter((page) => page.place === place).map(item)
  const others = pages
    .filter(({ place }) => !place.includes('/') && !REFERENCE.includes(place) && place !== 'introduction.md')
    .map(item)
  const [start, ...groups] = guideGroups(pages)
  const first = [
    { text: 'What Keyturn is', link: '/introduction' },
    { text: 'Choose your path', link: '/paths' },
  ]
  return [
    { text: 'Start', items: [...first, ...(start?.items ?? [])] },
    ...groups,
    { text: 'Run a server', collapsed: true, items: within(pages, 'operations').map(item) },
    { text: 'Packages', collapsed: true, items: within(pages, 'packages').map(item) },
    { text: 'What you would take instead', collapsed: true, items: within(pages, 'compare').map(item) },
    { text: 'Programs', collapsed: true, items: within(pages, 'programs').map(item) },
    { text: 'Specifications', collapsed: true, items: within(pages, 'spec').map(item) },
    { text: 'Reference', collapsed: true, items: [...REFERENCE.flatMap(at), ...others] },
    { text: 'Error codes', collapsed: true, items: errors.map(item) },
    { text: 'Decisions', collapsed: true, items: within(pages, 'decisions').map(item) },
  ]
}

/** What the package or program of a README does, from its package.json. */
function about({ source }: Page): string {
  const member = members().find(({ group, folder }) => source === `${group}/${folder}/README.md`)
  return member?.manifest.description === undefined ? '' : `: ${member.manifest.description}`
}

/** Pages that list the others of their folder, for folders whose documents have no such page of their own. */
export function listPages(pages: readonly Page[]): MadePage[] {
  const list = (folder: string, title: string, words: string): MadePage => ({
    place: `${folder}/index.md`,
    title,
    text: `# ${title}\n\n${words}\n\n${within(pages, folder)
      .map((page) => `- [${page.title}](./${page.place.slice(folder.length + 1)})${about(page)}`)
      .join('\n')}\n`,
  })
  return [
    list('packages', 'Packages', 'Each works alone. The [API reference](../api/index.html) has every call and type.'),
    list('programs', 'Programs', 'What you start: the command line, the launcher, the server.'),
    list(
      'compare',
      'What you would take instead',
      'What other tools do better, what ours do better, and figures of both.',
    ),
    list('spec', 'Specifications', 'Every byte and every rule, for anyone who writes a second implementation.'),
    list('decisions', 'Decisions', 'Why it is as it is. A decision is changed by a newer one, never rewritten.'),
  ]
}
