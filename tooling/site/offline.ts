/** Makes the pages of a built site open from a disk. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'

/** `href="/guides/ci.html#x"`, `href="./ci.html"`, and the same with `src`; not addresses of other hosts. */
const ADDRESS = /\b(href|src)="(\/(?!\/)[^"#?]*|\.{1,2}\/[^"#?]*|)(#[^"]*)?"/g

/** What a fragment leads to. */
const ID = /\s(?:id|name)="([^"]+)"/g

/** The script of a page. */
const MODULE = /<script type="module" src="([^"]+)"><\/script>/g

/**
 * From a disk, the script would look for the pages of a server, and put "not found" in the place of this one. What it
 * would bring is the search and the menu of small screens: a link to `search.html` replaces both.
 */
const startedByServer = (source: string, search: string): string =>
  `<script>if(location.protocol!=='file:'){const s=document.createElement('script');s.type='module';` +
  `s.src=${JSON.stringify(source)};document.head.append(s)}else addEventListener('DOMContentLoaded',()=>{` +
  `document.documentElement.classList.add('from-disk');const a=document.createElement('a');` +
  `a.href=${JSON.stringify(search)};a.className='disk-search';a.textContent='Search, all pages';` +
  `document.querySelector('.VPNavBar .content-body')?.prepend(a)})</script>`

/**
 * Turns every address of the site's own files into a relative one, with the name of the file.
 * @param folder what VitePress has built.
 * @param base path of the site on its server, with slashes at both ends.
 * @returns the number of pages.
 * @throws Error that names each address that leads to no file, or to no heading of its page.
 */
export function openableFromDisk(folder: string, base: string): number {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/'))
  const pages = files.filter((name) => name.endsWith('.html') && !name.startsWith('api/'))
  const dead: string[] = []
  const headings = new Map<string, ReadonlySet<string>>()
  for (const page of pages) {
    const path = join(folder, page)
    const text = readFileSync(path, 'utf8').replace(ADDRESS, (whole, name: string, target: string, fragment = '') => {
      if (target.startsWith('/') && !target.startsWith(base)) return whole
      const file = target === '' ? page : placeOf(target, { page, base })
      if (!existsSync(join(folder, file)) || !hasHeading(headings, join(folder, file), fragment))
        dead.push(`${page}: ${target}${fragment}`)
      if (target === '') return whole
      return `${name}="${posix.relative(posix.dirname(page), file)}${fragment}"`
    })
    const search = posix.relative(posix.dirname(page), 'search.html')
    writeFileSync(
      path,
      text.replaceAll(MODULE, (_tag, source: string) => startedByServer(source, search)),
    )
  }
  if (dead.length > 0) throw new Error(`Links that lead to no page:\n${[...new Set(dead)].join('\n')}`)
  return pages.length
}

function placeOf(target: string, { page, base }: { readonly page: string; readonly base: string }): string {
  if (target.startsWith('/')) return fileOf(target.slice(base.length))
  return fileOf(posix.join(posix.dirname(page), target))
}

/** Whether a page has the heading of a fragment; `known` keeps what was read. */
function hasHeading(known: Map<string, ReadonlySet<string>>, path: string, fragment: string): boolean {
  const id = decodeURIComponent(fragment.slice(1))
  if (id === '' || !path.endsWith('.html')) return true
  const ids = known.get(path) ?? new Set([...readFileSync(path, 'utf8').matchAll(ID)].map((match) => match[1] ?? ''))
  known.set(path, ids)
  return ids.has(id)
}

function fileOf(address: string): string {
  const name = decodeURIComponent(address)
  if (name === '' || name.endsWith('/')) return `${name}index.html`
  return posix.extname(name) === '' ? `${name}.html` : name
}
