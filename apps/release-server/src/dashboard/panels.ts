/** The parts of the dashboard that only show: keys, storage, adoption, audit log. */
export const PANELS_SCRIPT = `
import { $, badge, bytes, call, due, el, nameActors, number, plural, short, svg, table, who } from './view.js'

const kinds = { content: 'Content key', transport: 'Transport key', release: 'Release key', head: 'Head key', identity: 'Release identity' }
const states = { active: 'ok', next: '', retiring: 'warn', retired: '', revoked: 'bad', unusable: 'bad' }

function dueCell({ due: time, due_state: state, until }) {
  if (time === null) return until === null ? '–' : el('span', {}, 'until ', el('time', { dateTime: until, textContent: until.slice(0, 10) }))
  const when = el('time', { dateTime: time, textContent: time.slice(0, 10) })
  return state === 'ok' ? when : el('span', {}, badge(state === 'due' ? 'rotate it now' : 'due soon', state === 'due' ? 'bad' : 'warn'), ' ', when)
}

export async function keys(product) {
  const { items } = await call('GET', '/v1/products/' + product.slug + '/keys')
  table($('keys'), 'Keys, their age and when their rotation is due', ['Key', 'Name', 'State', 'Age', 'Rotation due', 'Overlap ends'], items.map((key) => [
    kinds[key.kind] || key.kind,
    key.kind === 'content' ? 'key_id ' + key.name : short(key.name),
    badge(key.state, states[key.state] || ''),
    key.age_days === null ? 'unknown' : plural(key.age_days, 'day', 'days'),
    dueCell(key.state === 'active' ? key : { ...key, until: null }),
    key.state === 'retiring' && key.until !== null ? due(key.until, [7, 2]) : '–',
  ]), 'No keys are known yet')
}

export function trust(product) {
  const rows = [['Pin', short(product.pin), '–']]
  if (product.log) rows.push(['Key event log', el('span', {}, 'event ' + product.log.sn + ' ', short(product.log.said)), '–'])
  if (product.roles) rows.push(['Role document', 'version ' + product.roles.version, due(product.roles.expires_at, [30, 7])])
  table($('trust'), 'Log and role document', ['What', 'State', 'Expires'], rows)
}

export async function storage() {
  const view = await call('GET', '/v1/storage')
  const facts = [
    ['Blobs', el('span', {}, number(view.blobs) + ' in ' + (view.blob_store === 'folder' ? 'a folder' : 'a bucket'))],
    ['Size', bytes(view.bytes)],
    ['Marked for deletion', view.marked_blobs === 0 ? 'nothing' : plural(view.marked_blobs, 'blob', 'blobs') + ', ' + bytes(view.marked_bytes)],
    ['Unfinished uploads', view.open_uploads === 0 ? 'none' : plural(view.open_uploads, 'upload', 'uploads') + ', ' + bytes(view.open_upload_bytes)],
    ['Free space', view.free_bytes === null ? 'not reported by the bucket' : view.free_bytes < view.bytes / 10 ? badge(bytes(view.free_bytes), 'warn') : bytes(view.free_bytes)],
    ['Records', view.metadata_store === 'sqlite' ? 'SQLite' : view.metadata_store],
  ]
  $('storage').replaceChildren(...facts.flatMap(([name, value]) => [el('dt', { textContent: name }), el('dd', {}, value)]))
}

const COLORS = 6
/** Shares by day: a column for each day, a piece for each version; the table below has the same figures. */
function chart(items, versions) {
  const days = [...new Set(items.map(({ day }) => day))].sort().slice(-14)
  const [width, height, step] = [days.length * 44, 120, 44]
  const columns = days.map((day, at) => {
    const ofDay = items.filter((item) => item.day === day)
    const total = ofDay.reduce((sum, { count }) => sum + count, 0)
    let top = height
    const pieces = versions.map((version, index) => {
      const share = ofDay.filter((item) => item.version === version).reduce((sum, { count }) => sum + count, 0) / total
      top -= share * height
      return svg('rect', { x: at * step + 6, y: top, width: step - 12, height: share * height, class: 'piece-' + (index % COLORS) })
    })
    const label = svg('text', { x: at * step + step / 2, y: height + 16, 'text-anchor': 'middle' })
    label.textContent = day.slice(5)
    return svg('g', {}, ...pieces, label)
  })
  const words = days.length === 0 ? 'No reports' : 'Share of versions on ' + plural(days.length, 'day', 'days') + '; the table below has the figures'
  return svg('svg', { viewBox: '0 0 ' + Math.max(width, 1) + ' ' + (height + 22), width: Math.max(width, 1), height: height + 22, role: 'img', 'aria-label': words }, ...columns)
}

export async function adoption(product) {
  const { items, downloads } = await call('GET', '/v1/products/' + product.slug + '/stats')
  const reads = new Map()
  for (const { version, offers, manifests } of downloads) {
    const line = reads.get(version) || { offers: 0, manifests: 0 }
    reads.set(version, { offers: line.offers + offers, manifests: line.manifests + manifests })
  }
  table($('downloads'), 'Reads of heads and manifests by version', ['Version', 'Asked and offered', 'Manifest fetched'], [...reads].sort((a, b) => b[1].manifests - a[1].manifests).map(([version, { offers, manifests }]) => [version, number(offers), number(manifests)]), 'Nobody has asked yet')
  const counts = new Map()
  for (const { version, count, result } of items) {
    const line = counts.get(version) || { count: 0, failed: 0 }
    counts.set(version, { count: line.count + count, failed: line.failed + (/fail|error/.test(result) ? count : 0) })
  }
  const total = [...counts.values()].reduce((sum, { count }) => sum + count, 0)
  const sorted = [...counts].sort((a, b) => b[1].count - a[1].count)
  $('adoption-chart').replaceChildren(...(total === 0 ? [] : [chart(items, sorted.map(([version]) => version))]))
  table($('adoption'), 'Reports by version', ['Version', 'Reports', 'Share', 'Failed'], sorted.map(([version, { count, failed }], at) => [
    el('span', {}, el('span', { className: 'key piece-' + (at % COLORS), ariaHidden: 'true' }), version), number(count), Math.round(100 * count / total) + ' %', number(failed),
  ]), 'Nobody has reported yet')
}

/** A token is known by its name, which the entry of its making has, and by its id for the pointer. */
const target = ({ action, target: on, facts }) =>
  action.startsWith('token.') && facts.name ? el('span', { title: on, textContent: facts.name }) : on

export async function audit() {
  const { items, names } = await call('GET', '/v1/audit?newest=true&limit=100')
  nameActors(names)
  table($('audit'), 'The last hundred entries of the audit log', ['#', 'When', 'Who', 'What', 'On'], items.map((entry) => [
    entry.sequence, el('time', { dateTime: entry.at, textContent: entry.at.replace('T', ' ').replace('Z', '') }), who(entry.actor), entry.action, target(entry),
  ]))
}
`
