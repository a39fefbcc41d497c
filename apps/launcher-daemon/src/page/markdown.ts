/** Longest notes that are shown. */
const MAX_NOTES = 64 * 1024

/**
 * Puts one line's text into a node: code, strong, emphasis; a link becomes its text with its address, never a request.
 */
function inline(parent: Node, text: string): void {
  const pattern = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|!?\[([^\]]*)\]\(([^)\s]+)\)/
  let rest = text
  for (let match = pattern.exec(rest); match !== null; match = pattern.exec(rest)) {
    parent.appendChild(document.createTextNode(rest.slice(0, match.index)))
    const [whole, code, strong, emphasis, label, address] = match
    const made = document.createElement(
      code !== undefined ? 'code' : strong !== undefined ? 'strong' : emphasis !== undefined ? 'em' : 'span',
    )
    made.textContent =
      code ?? strong ?? emphasis ?? (whole.startsWith('!') ? (label ?? '') : `${label ?? ''} (${address ?? ''})`)
    parent.appendChild(made)
    rest = rest.slice(match.index + whole.length)
  }
  parent.appendChild(document.createTextNode(rest))
}

/**
 * Shows release notes: headings, lists, paragraphs, a little emphasis. Everything is made as text nodes, so HTML in the
 * notes stays text, and nothing is loaded.
 */
export function showMarkdown(target: HTMLElement, notes: string): void {
  target.replaceChildren()
  let list: HTMLElement | undefined
  let paragraph: HTMLElement | undefined
  for (const line of notes.slice(0, MAX_NOTES).split(/\r?\n/)) {
    const heading = /^#{1,6}\s+(.*)$/.exec(line)
    const item = /^\s*(?:([-*+])|\d+[.)])\s+(.*)$/.exec(line)
    if (item !== null) {
      const kind = item[1] === undefined ? 'ol' : 'ul'
      if (list?.localName !== kind) {
        list = document.createElement(kind)
        target.appendChild(list)
      }
      const entry = document.createElement('li')
      inline(entry, item[2] ?? '')
      list.appendChild(entry)
      paragraph = undefined
      continue
    }
    list = undefined
    if (heading !== null) {
      const made = document.createElement('h3')
      inline(made, heading[1] ?? '')
      target.appendChild(made)
      paragraph = undefined
    } else if (line.trim() === '') {
      paragraph = undefined
    } else {
      if (paragraph === undefined) {
        paragraph = document.createElement('p')
        target.appendChild(paragraph)
      } else {
        paragraph.appendChild(document.createTextNode(' '))
      }
      inline(paragraph, line.trim())
    }
  }
}
