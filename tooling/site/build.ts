/**
 * Builds the documentation as a site in `docs/site`: every document of the repository, the packages' READMEs, the error
 * codes and the API reference, with search.
 *
 * Any web server can serve the folder, and its pages also open from a disk. Browsers load no modules from there, so
 * `search.html` is the search then, and the list of all pages.
 *
 *     node build.ts [--base /docs/] [--sources https://host/owner/name]
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'vitepress'
import { root } from '../checks/workspace.ts'
import { writeDiskSearch } from './disk-search.ts'
import { errorPages } from './error-pages.ts'
import type { MadePage } from './error-pages.ts'
import { rewriteLinks } from './links.ts'
import { listPages, sidebar } from './navigation.ts'
import { openableFromDisk } from './offline.ts'
import { pages } from './pages.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const gathered = join(here, '.gathered')
const out = join(root, 'docs/site')
const { values } = parseArgs({ options: { base: { type: 'string' }, sources: { type: 'string' } } })

function write(place: string, content: string | Uint8Array): void {
  const path = join(gathered, place)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

/** VitePress takes a link for one to a page, and browsers a file for a download, unless its name says what it is. */
function servedName(file: string): string {
  return /\.(?:conf|json|jsonc|md|mjs|svg|ts|tsv|txt|yaml|yml)$/.test(file) ? file : `${file}.txt`
}

/** The first page and the page of paths: written for the site alone. */
function ownPages(): MadePage[] {
  return ['index.md', 'paths.md'].map((place) => ({
    place,
    title: place,
    text: readFileSync(join(here, 'text', place), 'utf8'),
  }))
}

async function gather(): Promise<void> {
  rmSync(gathered, { recursive: true, force: true })
  const all = pages()
  const errors = await errorPages()
  const lists = listPages(all)
  const places = new Map([
    ...all.map(({ source, place }) => [source, place] as const),
    ['docs/decisions', 'decisions/index.md'],
    ['docs/spec', 'spec/index.md'],
  ])
  const targets = {
    places,
    sources: values.sources === undefined ? undefined : `${values.sources}/blob/main`,
    copy: (file: string, isPicture: boolean): string => {
      const place = posix.join('files', isPicture ? file : servedName(file))
      // VitePress takes pictures from beside the pages, and everything else as it is from `public`.
      write(posix.join(isPicture ? '' : 'public', place), readFileSync(join(root, file)))
      return place
    },
  }
  for (const { source, place } of all) {
    const text = readFileSync(join(root, source), 'utf8')
    write(place, rewriteLinks({ source, place, text }, targets))
  }
  for (const { place, text } of [...errors, ...lists, ...ownPages()]) write(place, text)
  for (const folder of ['api', 'pictures']) {
    const from = join(root, 'docs', folder)
    if (existsSync(from)) cpSync(from, join(gathered, 'public', folder), { recursive: true })
  }
  mkdirSync(join(gathered, '.vitepress'))
  for (const name of ['config.ts', 'theme'])
    cpSync(join(here, name), join(gathered, '.vitepress', name), { recursive: true })
  write('.vitepress/navigation.json', JSON.stringify({ sources: values.sources, sidebar: sidebar(all, errors) }))
}

await gather()
rmSync(out, { recursive: true, force: true })
await build(gathered, { outDir: out, base: values.base ?? '/' })
const count = openableFromDisk(out, values.base ?? '/')
const sections = writeDiskSearch(out, readFileSync(join(here, 'text/search.html'), 'utf8'))
rmSync(gathered, { recursive: true, force: true })
console.log(`${count} pages in docs/site, ${sections} places that search.html finds`)
