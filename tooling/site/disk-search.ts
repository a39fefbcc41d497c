/** A search that needs no server: one page, and one script that holds the text of all the others. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A part of a page under one heading. */
export interface Section {
  /** Path of the page from the root of the site, with the fragment of the heading. */
  readonly address: string
  readonly page: string
  readonly heading: string
  readonly text: string
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: ' ', '#39': "'" }

/** The words of a piece of HTML. */
function wordsOf(html: string): string {
  return html
    .replaceAll(/<(?:script|style|button)\b[\s\S]*?<\/(?:script|style|button)>/g, '')
    .replaceAll(/<a class="header-anchor"[\s\S]*?<\/a>|<span class="lang">[^<]*<\/span>/g, '')
    .replaceAll(/<\/(?:p|li|td|th|h\d|tr|pre|div)>|<br>/g, ' ')
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll(/&([a-z]+|#39);/g, (whole, name: string) => ENTITIES[name] ?? whole)
    .replaceAll(/[\s\u200b]+/g, ' ')
    .trim()
}

/**
 * The sections of a page as VitePress writes it; none for a page without headings.
 * @param place path of the page from the root of the site.
 */
export function sectionsOf(place: string, html: string): Section[] {
  const [, ...parts] = html.split('</main>')[0]?.split(/<h[123] id="/) ?? []
  let page = ''
  return parts.map((part, index) => {
    const [, id = '', inside = '', rest = ''] = /^([^"]*)"[^>]*>([\s\S]*?)<\/h[123]>([\s\S]*)$/.exec(part) ?? []
    const heading = wordsOf(inside)
    if (index === 0) page = heading
    return { address: index === 0 ? place : `${place}#${id}`, page, heading, text: wordsOf(rest) }
  })
}

/**
 * Writes `search.html` and `search-index.js` into a built site.
 * @param folder what VitePress has built.
 * @param template the page; it loads `search-index.js` beside it.
 * @returns the number of sections that can be found.
 */
export function writeDiskSearch(folder: string, template: string): number {
  const places = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.html') && !/^(?:api\/|404|search\.html)/.test(name))
    .sort()
  const sections = places.flatMap((place) => sectionsOf(place, readFileSync(join(folder, place), 'utf8')))
  const rows = sections.map(({ address, page, heading, text }) => JSON.stringify([address, page, heading, text]))
  writeFileSync(join(folder, 'search-index.js'), `const sections = [\n${rows.join(',\n')}\n]\n`)
  writeFileSync(join(folder, 'search.html'), template)
  return sections.length
}
