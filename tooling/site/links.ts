/** Links between documents: in the repository they lead to files, on the site to pages. */
import { existsSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { root } from '../checks/workspace.ts'

/** A relative link or picture in Markdown: the text before its target, the target, and its fragment. */
const LINK = /(!?\[(?:[^\][]|\[[^\]]*\])*\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)/g
const FENCE = /^(```|~~~)[\s\S]*?^\1/gm

/** What the links of one page may lead to. */
export interface LinkTargets {
  /** Pages, by their path in the repository. */
  readonly places: ReadonlyMap<string, string>
  /**
   * Address below which a reader finds the files of the repository, such as `https://host/owner/name/blob/main`.
   * Without it, the site has copies of them.
   */
  readonly sources?: string | undefined
  /** Takes a file that the site needs a copy of, and returns where that copy is on the site. */
  copy(file: string, isPicture: boolean): string
}

/**
 * The text of a page with its links as the site needs them. A link to any other file leads to the sources
 * where their address is known, otherwise to a copy of the file. Fenced code stays as it is.
 * @throws Error for a link to something that does not exist.
 */
export function rewriteLinks(page: { source: string; place: string; text: string }, targets: LinkTargets): string {
  const { source, place, text } = page
  const parts: string[] = []
  let end = 0
  for (const { index, 0: fence } of text.matchAll(FENCE)) {
    parts.push(rewrite(text.slice(end, index)), fence)
    end = index + fence.length
  }
  return [...parts, rewrite(text.slice(end))].join('')

  function rewrite(prose: string): string {
    return prose.replace(LINK, (_whole: string, start: string, target: string, fragment = '') => {
      const file = posix.normalize(posix.join(posix.dirname(source), decodeURIComponent(target))).replace(/\/$/, '')
      return `${start}${encodeURI(address(file, start.startsWith('!')))}${fragment})`
    })
  }

  function address(file: string, isPicture: boolean): string {
    const known = targets.places.get(file) ?? targets.places.get(`${file}/README.md`)
    if (known !== undefined) return relativeTo(place, known)
    if (!existsSync(join(root, file))) throw new Error(`${source} links to ${file}, which does not exist`)
    if (targets.sources !== undefined && !isPicture) return `${targets.sources}/${file}`
    if (!statSync(join(root, file)).isDirectory()) return relativeTo(place, targets.copy(file, isPicture))
    const first = [...targets.places].find(([path]) => path.startsWith(`${file}/`))
    return first === undefined ? relativeTo(place, 'index.md') : relativeTo(place, first[1])
  }
}

/** The way from one file of the site to another: with `./` or `../` at its start. */
export function relativeTo(from: string, to: string): string {
  const way = posix.relative(posix.dirname(from), to)
  return way.startsWith('.') ? way : `./${way}`
}
