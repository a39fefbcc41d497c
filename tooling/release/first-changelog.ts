import { withoutNotYet } from './not-yet.ts'

/**
 * What a package is, in the words of its README: the paragraphs between its title and the first section, without
 * commands and without the note that it is not on npm.
 */
export function introduction(readme: string): string {
  const [, ...rest] = withoutNotYet(readme)
    .replaceAll(/^```[\s\S]*?^```\n+/gm, '')
    .split(/^# .*$/m)
  const text = rest.join('').split(/^## /m)[0]?.trim() ?? ''
  if (text === '') throw new Error('A README has no introduction between its title and its first section')
  return text
}

/** Sections of a README whose first table lists what a package has. */
const LISTS = /^## (?:What there is|Commands)\n+((?:\|.*\n)+)/m

/** What a package has, as the items of a list: the rows of the table in its README; none without such a table. */
export function contents(readme: string): string[] {
  const [, , ...rows] = LISTS.exec(readme)?.[1]?.trimEnd().split('\n') ?? []
  return rows.map((row) => {
    const [name = '', words = ''] = row
      .split(/(?<!\\)\|/)
      .slice(1)
      .map((cell) => cell.trim().replaceAll('\\|', '|'))
    return `- ${name}: ${words}`
  })
}

/**
 * A text without its links: inside a tarball only some documents exist, and a changelog is read in other places too.
 */
const withoutLinks = (text: string): string =>
  text.replaceAll(/ \(\[[^\]]*\]\([^)\s]+\)\)/g, '').replaceAll(/\[((?:[^\][]|\[[^\]]*\])*)\]\([^)\s]+\)/g, '$1')

/**
 * The first changelog of a package.
 *
 * Changesets written before it describe changes between states that nobody could install, so they are not in it. The
 * reader of a first version wants to know what it is.
 */
export function firstChangelog(name: string, version: string, readme: string): string {
  const list = contents(readme)
  return [
    `# ${name}`,
    `## ${version}`,
    'The first release.',
    withoutLinks(introduction(readme)),
    ...(list.length === 0 ? [] : ['In this version:', withoutLinks(list.join('\n'))]),
    'Everything that this version writes stays readable by every later version.',
    'The README shows how to use it.\n',
  ].join('\n\n')
}
