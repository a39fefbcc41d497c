/** The releases on the dashboard: what each costs, what people wrote about it, and the commands that need a key. */
export const RELEASES_SCRIPT = `
import { $, badge, bytes, call, copyable, el, nameActors, number, say, table, who } from './view.js'

/** Releases whose notes are open, and notes that are being written: the table is drawn again meanwhile. */
const open = new Set()
const drafts = new Map()

const pathOf = (release) =>
  '/v1/products/' + release.product + '/channels/' + release.channel + '/releases/' + release.version

function compareButton(release, older) {
  if (older === undefined) return '–'
  const compare = el('button', { type: 'button', className: 'small', textContent: 'Compare',
    ariaLabel: 'Compare ' + release.version + ' with the previous release' })
  compare.addEventListener('click', async () => {
    try {
      const diff = await call('GET', pathOf(release) + '/diff/' + older.version)
      const text = el('span', { tabIndex: -1, textContent: bytes(diff.bytes) + ' from ' + older.version + ': '
        + number(diff.added) + ' added, ' + number(diff.changed) + ' changed, ' + number(diff.removed) + ' removed' })
      compare.replaceWith(text)
      text.focus()
    } catch (error) { say('Compare failed: ' + error.message) }
  })
  return compare
}

/** What needs a key is done on the publisher's machine: the exact commands, to be copied. */
function commands({ version, channel, state }) {
  const on = ' --channel ' + channel
  const to = channel === 'stable' ? 'CHANNEL' : 'stable'
  const lines = state === 'draft'
    ? [['Offer it', 'keyturn release offer ' + version + on], ['Discard it', 'keyturn release discard ' + version + on]]
    : [['Promote it', 'keyturn release promote ' + version + on + ' --to ' + to],
      ['Go back to it', 'keyturn release rollback ' + version + on]]
  return el('dl', {}, ...lines.flatMap(([what, line]) => [el('dt', { textContent: what }), el('dd', {},
    copyable(line))]))
}

function noteForm(release, draw) {
  const key = pathOf(release)
  const text = el('textarea', { maxLength: 1000, rows: 2, required: true, value: drafts.get(key) || '',
    ariaLabel: 'Note on ' + release.version })
  text.addEventListener('input', () => drafts.set(key, text.value))
  const form = el('form', { className: 'note-form' }, text, el('button', { className: 'small',
    textContent: 'Add the note' }))
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    try {
      await call('POST', key + '/notes', { text: text.value.trim().replaceAll('\\r\\n', '\\n') })
      drafts.delete(key)
      await draw()
      say('The note is stored')
    } catch (error) { say('Note failed: ' + error.message) }
  })
  return form
}

function more(release, mayWrite) {
  const key = pathOf(release)
  const inside = el('div', { className: 'notes' })
  const draw = async () => {
    const { items, names } = await call('GET', key + '/notes')
    nameActors(names)
    inside.replaceChildren(
      ...items.map(({ text, by, at }) => el('p', {}, el('span', { className: 'hint' }, who(by), ' ' + at.slice(0,
        16).replace('T', ' ')),
        el('span', { className: 'written', textContent: text }))),
      ...(items.length === 0 ? [el('p', { className: 'hint', textContent: 'No notes' })] : []),
      ...(mayWrite ? [noteForm(release, draw)] : []), commands(release))
  }
  const details = el('details', { open: open.has(key) },
    el('summary', { textContent: 'Notes, commands', ariaLabel: 'Notes and commands of ' + release.version }), inside)
  const load = () => draw().catch((error) => say('Cannot show notes: ' + error.message))
  details.addEventListener('toggle', () => {
    if (details.open === open.has(key)) return
    if (details.open) { open.add(key); load() } else open.delete(key)
  })
  if (open.has(key)) load()
  return details
}

export async function releases(product, mayWrite) {
  const { items } = await call('GET', '/v1/products/' + product.slug + '/releases?limit=50')
  const names = ['Version', 'Channel', 'State', 'Files', 'Size', 'Published', 'From the release before', 'More']
  table($('releases'), 'Releases, newest first', names, items.map((release, at) => {
    const older = items.slice(at + 1).find((other) => other.channel === release.channel)
    const state = badge(release.state + (release.pinned ? ', pinned' : ''), release.state === 'published' ? 'ok' : '')
    return [
      release.version, release.channel, state, number(release.files),
      el('span', { className: 'nowrap', textContent: bytes(release.bytes) }),
      release.published_at === null ? '–' : el('time', { dateTime: release.published_at,
        textContent: release.published_at.slice(0, 10) }), compareButton(release, older),
      more(release, mayWrite),
    ]
  }), 'No release yet')
}
`
