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

/**
 * The first changelog of a package.
 *
 * Changesets written before it describe changes between states that nobody could install, so they are not in it. The
 * reader of a first version wants to know what it is.
 */
export function firstChangelog(name: string, version: string, readme: string): string {
  const what = introduction(readme)
    // Inside a tarball only some documents exist, and a changelog is read in other places too.
    .replace(/\[((?:[^\][]|\[[^\]]*\])*)\]\([^)\s]+\)/g, '$1')
  return [
    `# ${name}`,
    `## ${version}`,
    'The first release.',
    what,
    'Everything that this version writes stays readable by every later version.',
    'The README shows how to use it.\n',
  ].join('\n\n')
}
