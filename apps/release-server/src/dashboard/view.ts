/** What all parts of the dashboard draw with: plain DOM, where text is only ever set as text. */
export const VIEW_SCRIPT = `
export const $ = (id) => document.getElementById(id)
export const el = (name, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(name), properties)
  node.append(...children.filter((child) => child !== null && child !== undefined))
  return node
}
const svgName = 'http://www.w3.org/2000/svg'
export const svg = (name, attributes = {}, ...children) => {
  const node = document.createElementNS(svgName, name)
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value))
  node.append(...children)
  return node
}
/** Names of tokens by the actor that the audit log shows; the server tells them with what it lists. */
const names = new Map()
export function nameActors(known) {
  for (const [actor, name] of Object.entries(known || {})) names.set(actor, name)
}
/** Who did something: the name of the token where it is known, with its id for the pointer. */
export const who = (actor) => el('span', { title: actor, textContent: names.get(actor) || actor })

export const say = (text) => { $('live').textContent = text }

export const bytes = (count) => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let at = 0
  while (count >= 999.5 && at < units.length - 1) { count /= 1000; at += 1 }
  return count.toFixed(at === 0 || count >= 99.95 ? 0 : count >= 9.995 ? 1 : 2) + ' ' + units[at]
}
export const number = (count) => count.toLocaleString('en')
export const plural = (count, one, many) => number(count) + ' ' + (count === 1 ? one : many)
const daysUntil = (time) => Math.floor((Date.parse(time) - Date.now()) / 86400000)

export async function call(method, path, body) {
  const answer = await fetch(path, { method, headers: body === undefined ? {}
    : { 'content-type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body) })
  const data = answer.status === 204 ? null : await answer.json().catch(() => null)
  if (!answer.ok) throw Object.assign(new Error((data && (data.detail || data.title)) || 'The server answered '
    + answer.status), { status: answer.status, code: data && data.code })
  return data
}

export function table(node, caption, names, rows, nothing = 'Nothing yet') {
  const head = el('thead', {}, el('tr', {}, ...names.map((name) => el('th', { scope: 'col', textContent: name }))))
  const body = el('tbody', {}, ...rows.map((cells) => el('tr', {}, ...cells.map((cell, at) => {
    const content = cell instanceof Node ? cell : document.createTextNode(String(cell))
    const made = at === 0 ? el('th', { scope: 'row' }, content) : el('td', {}, content)
    // On a phone the heads of the columns are gone, and each value shows its own.
    made.dataset.name = names[at]
    return made
  }))))
  if (rows.length === 0) body.append(el('tr', {}, el('td', { colSpan: names.length, className: 'hint',
    textContent: nothing })))
  node.replaceChildren(el('caption', { className: 'unseen', textContent: caption }), head, body)
}

/** A line for the shell, and a button that copies it. */
export function copyable(line) {
  // A flag is not broken at its hyphens.
  const words = line.split(' ').flatMap((word, at) => [at === 0 ? '' : ' ', el('span', { textContent: word })])
  const code = el('code', {}, ...words)
  const copy = el('button', { type: 'button', className: 'small', textContent: 'Copy', ariaLabel: 'Copy ' + line })
  copy.addEventListener('click', async () => {
    // Without HTTPS a page may not write to the clipboard: the line is selected instead.
    try { await navigator.clipboard.writeText(line); say('Copied') } catch {
      getSelection().selectAllChildren(code); say('Selected: copy it') }
  })
  return el('span', { className: 'copyable' }, code, copy)
}

/** A button with one question after it: a phone in the dark presses the wrong button easily. */
export function ask({ label, name, question, work, className = 'small danger', disabled = false }) {
  const button = el('button', { type: 'button', className, textContent: label, ariaLabel: name, disabled })
  button.addEventListener('click', () => {
    const yes = el('button', { type: 'button', className, textContent: question })
    const no = el('button', { type: 'button', className: className.replace(' danger', ''), textContent: 'Cancel' })
    const asked = el('span', { className: 'controls', role: 'group', ariaLabel: name + '?' }, yes, no)
    yes.addEventListener('click', work)
    no.addEventListener('click', () => { asked.replaceWith(button); button.focus() })
    button.replaceWith(asked)
    no.focus()
  })
  return button
}

/** A state as a word, never by color alone. */
export const badge = (text, kind) => el('span', { className: 'badge ' + kind, textContent: text })

/** A date with the days that are left; steps: days below which it is a warning, then bad. */
export function due(time, steps) {
  const left = daysUntil(time)
  const when = el('time', { dateTime: time, textContent: time.slice(0, 10) })
  if (left < 0) return el('span', {}, badge('expired', 'bad'), ' ', when)
  const kind = left < steps[1] ? 'bad' : left < steps[0] ? 'warn' : ''
  return el('span', {}, when, ' ', kind === '' ? el('span', { className: 'hint', textContent: 'in ' + plural(left,
    'day', 'days') }) : badge('in ' + plural(left, 'day', 'days'), kind))
}

/** Shortens long names; the title has the whole name. */
export const short = (text) => el('code', { textContent: text.length > 24 ? text.slice(0, 10) + '…' + text.slice(-8)
  : text, title: text })
`
