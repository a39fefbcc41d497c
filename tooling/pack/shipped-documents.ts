import { readFileSync, statSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { root } from '../checks/workspace.ts'
import { withoutNotYet } from '../release/not-yet.ts'

/** A text of a tarball: its path there, and its content. */
export interface ShippedText {
  readonly path: string
  readonly text: string
}

/** A relative picture in Markdown. Tarballs hold none. */
const PICTURE = /!\[([^\]]*)\]\((?![a-z]+:|#)([^)\s#]+)\)/g

/** A relative link in Markdown: its words, its target without the fragment, and the fragment. */
const LINK = /(?<!!)\[((?:[^\][]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)/g

const isFile = (path: string): boolean => statSync(join(root, path), { throwIfNoEntry: false })?.isFile() === true

/** What a README leads to and a tarball can hold: documents, and the examples for several packages. */
const isShipped = (path: string): boolean => /^(docs\/.*\.md|examples\/[^/]+\.ts)$/.test(path) && isFile(path)

const linked = (from: string, target: string): string =>
  posix.normalize(posix.join(dirname(from), decodeURIComponent(target)))

/**
 * The README of a member, and each document or example it links to, for its tarball.
 *
 * On npm a relative link leads nowhere: there is only the tarball. Links between shipped files stay links. Others
 * become addresses below `sources` (`https://host/owner/name/blob/main`), or plain words while that is not known.
 * @param member folder of the member from the root, such as `packages/kel`.
 */
export function shippedDocuments(member: string, sources: string | undefined): ShippedText[] {
  const readme = `${member}/README.md`
  const places = new Map([[readme, 'README.md']])
  for (const [, , target = ''] of readFileSync(join(root, readme), 'utf8').matchAll(LINK)) {
    const path = linked(readme, target)
    if (isShipped(path)) places.set(path, path)
  }
  return [...places].map(([path, place]) => ({ path: place, text: rewritten(path, place) }))

  function rewritten(path: string, place: string): string {
    const original = readFileSync(join(root, path), 'utf8')
    if (!path.endsWith('.md')) return original
    // Who reads a tarball has it from npm.
    const text = withoutNotYet(original)
    const withoutPictures = text.replace(PICTURE, (_whole, words: string, target: string) =>
      sources === undefined ? '' : `![${words}](${sources}/${linked(path, target)}?raw=true)`,
    )
    return withoutPictures.replace(LINK, (whole: string, words: string, target: string, fragment = '') => {
      const wanted = linked(path, target)
      const shipped = places.get(wanted)
      if (shipped !== undefined) return `[${words}](${posix.relative(dirname(place), shipped)}${fragment})`
      // The examples of the member have the same paths in the tarball as in its folder.
      if (wanted.startsWith(`${member}/`) && place === 'README.md') return whole
      return sources === undefined ? words : `[${words}](${sources}/${wanted}${fragment})`
    })
  }
}

/** Relative links of a Markdown text, as paths from the root of its tarball. */
export function relativeLinks({ path, text }: ShippedText): string[] {
  return [...text.matchAll(LINK)].map(([, , target = '']) => linked(path, target))
}
