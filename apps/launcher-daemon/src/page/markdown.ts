/** Longest notes that are shown. */
const MAX_NOTES = 64 * 1024

/** A link that the player can follow; an address of another kind stays text. */
function link(label: string, address: string): HTMLElement {
  if (!address.startsWith('https://') || !URL.canParse(address)) {
    const text = document.createElement('span')
    text.textContent = `${label} (${address})`
    return text
  }
  const made = document.createElement('a')
  made.href = address
  made.target = '_blank'
  made.rel = 'noopener noreferrer'
  made.textContent = label
  return made
}

/** Puts one line's text into a node: code, strong, emphasis, links. Nothing is loaded. */
function inline(parent: Node, text: string): void {
  const pattern = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|!?\[([^\]]*)\]\(([^)\s]+)\)/
  let rest = text
  for (let match = pattern.exec(rest); match !== null; match = pattern.exec(rest)) {
    parent.appendChild(document.createTextNode(rest.slice(0, match.index)))
    const [whole, code, strong, emphasis, label, address] = match
    if (address !== undefined && !whole.startsWith('!')) parent.appendChild(link(label ?? '', address))
    else {
      const made = document.createElement(
        code !== undefined ? 'code' : strong !== undefined ? 'strong' : emphasis !== undefined ? 'em' : 'span',
      )
      made.textContent = code ?? strong ?? emphasis ?? label ?? ''
      parent.appendChild(made)
    }
    rest = rest.slice(match.index + whole.length)
  }
  parent.appendChild(document.createTextNode(rest))
}

function cells(line: string): string[] {
  return line
    .trim()
    .replace(/^\||\|$/g, '')
    .split('|')
    .map((cell) => cell.trim())
}

/** A table: a row of titles, a row of dashes, rows. */
function table(lines: readonly string[]): HTMLElement {
  const made = document.createElement('table')
  for (const [index, line] of lines.entries()) {
    if (index === 1) continue
    const row = made.insertRow()
    for (const text of cells(line)) {
      const cell = document.createElement(index === 0 ? 'th' : 'td')
      inline(cell, text)
      row.appendChild(cell)
    }
  }
  return made
}

/** How many lines from here on are a table; 0 when none begins. */
function tableLength(lines: readonly string[]): number {
  if (!/^\s*\|.*\|\s*$/.test(lines[0] ?? '') || !/^\s*\|(\s*:?-+:?\s*\|)+\s*$/.test(lines[1] ?? '')) return 0
  const end = lines.findIndex((line) => !/^\s*\|.*\|\s*$/.test(line))
  return end < 0 ? lines.length : end
}

/**
 * Shows release notes: headings, lists, paragraphs, tables, a little emphasis. Everything is made as text nodes, so
 * HTML in the notes stays text, and nothing is loaded.
 */
export function showMarkdown(target: HTMLElement, notes: string): void {
  target.replaceChildren()
  let list: HTMLElement | undefined
  let paragraph: HTMLElement | undefined
  const lines = notes.slice(0, MAX_NOTES).split(/\r?\n/)
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? ''
    const rows = tableLength(lines.slice(at))
    if (rows > 0) {
      target.appendChild(table(lines.slice(at, at + rows)))
      at += rows - 1
      list = paragraph = undefined
      continue
    }
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
