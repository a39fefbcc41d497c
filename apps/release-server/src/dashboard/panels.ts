/** The parts of the dashboard that only show: keys, storage, adoption. */
export const PANELS_SCRIPT = `
import { $, badge, bytes, call, due, el, number, plural, short, table } from './view.js'
import { downloads as drawDownloads } from './health.js'

const kinds = { content: 'Content key', transport: 'Transport key', release: 'Release key', head: 'Head key',
  identity: 'Release identity' }
const states = { active: 'ok', next: '', retiring: 'warn', retired: '', revoked: 'bad', unusable: 'bad' }

function dueCell({ due: time, due_state: state, until }) {
  if (time === null) return until === null ? '–' : el('span', {}, 'until ', el('time', { dateTime: until,
    textContent: until.slice(0, 10) }))
  const when = el('time', { dateTime: time, textContent: time.slice(0, 10) })
  return state === 'ok' ? when : el('span', {}, badge(state === 'due' ? 'rotate it now' : 'due soon',
    state === 'due' ? 'bad' : 'warn'), ' ', when)
}

export async function keys(product) {
  const { items } = await call('GET', '/v1/products/' + product.slug + '/keys')
  table($('keys'), 'Keys, their age and when their rotation is due', ['Key', 'Name', 'State', 'Age', 'Rotation due',
    'Overlap ends'], items.map((key) => [
    kinds[key.kind] || key.kind,
    key.kind === 'content' ? 'key_id ' + key.name : short(key.name),
    badge(key.state, states[key.state] || ''),
    key.age_days === null ? 'unknown' : plural(key.age_days, 'day', 'days'),
    dueCell(key.state === 'active' ? key : { ...key, until: null }),
    key.state === 'retiring' && key.until !== null ? due(key.until, [7, 2]) : '–',
  ]), 'No keys are known yet')
}

/** Logs of others that this server watches: only there when it watches any. */
async function watchedRows() {
  const report = await call('GET', '/readyz').catch(() => null)
  const checks = report === null ? [] : report.checks.filter(({ name }) => name.startsWith('watched-log:'))
  return checks.map(({ name, status, detail }) => ['Watched log', el('span', {}, el('code', { textContent: name.slice(12) }), ' ',
    badge(status === 'pass' ? 'sound' : 'look at it', status === 'pass' ? 'ok' : 'bad'), ' ',
    el('span', { className: status === 'pass' ? 'hint' : 'bad', textContent: detail })), '–'])
}

export async function trust(product) {
  const rows = [['Pin', short(product.pin), '–']]
  if (product.log) rows.push(['Key event log', el('span', {}, 'event ' + product.log.sn + ' ',
    short(product.log.said)), '–'])
  if (product.roles) rows.push(['Role document', 'version ' + product.roles.version, due(product.roles.expires_at,
    [30, 7])])
  rows.push(...await watchedRows())
  table($('trust'), 'Log and role document', ['What', 'State', 'Expires'], rows)
}

export async function storage() {
  const view = await call('GET', '/v1/storage')
  const facts = [
    ['Blobs', el('span', {}, number(view.blobs) + ' in ' + (view.blob_store === 'folder' ? 'a folder' : 'a bucket'))],
    ['Size', bytes(view.bytes)],
    ['Marked for deletion', view.marked_blobs === 0 ? 'nothing' : plural(view.marked_blobs, 'blob', 'blobs') + ', '
      + bytes(view.marked_bytes)],
    ['Unfinished uploads', view.open_uploads === 0 ? 'none' : plural(view.open_uploads, 'upload', 'uploads') + ', '
      + bytes(view.open_upload_bytes)],
    ['Free space', view.free_bytes === null ? 'not reported by the bucket' : view.free_bytes < view.bytes / 10 ?
      badge(bytes(view.free_bytes), 'warn') : bytes(view.free_bytes)],
    ['Records', view.metadata_store === 'sqlite' ? 'SQLite' : view.metadata_store],
  ]
  $('storage').replaceChildren(...facts.flatMap(([name, value]) => [el('dt', { textContent: name }), el('dd', {},
    value)]))
}

const dayBefore = (days) => new Date(Date.now() - days * 86400000).toISOString().slice(0, 10)

export async function adoption(product) {
  const { items, downloads } = await call('GET', '/v1/products/' + product.slug + '/stats?since=' + dayBefore(30))
  drawDownloads(downloads)
  const counts = new Map()
  for (const { version, count, result } of items) {
    const line = counts.get(version) || { count: 0, failed: 0 }
    counts.set(version, { count: line.count + count, failed: line.failed + (/fail|error/.test(result) ? count : 0) })
  }
  const total = [...counts.values()].reduce((sum, { count }) => sum + count, 0)
  const sorted = [...counts].sort((a, b) => b[1].count - a[1].count)
  // Only what launchers of before send; those of now report steps.
  $('reported').hidden = total === 0
  table($('adoption'), 'Reports by version', ['Version', 'Reports', 'Share', 'Failed'], sorted.map(([version,
    { count, failed }]) => [
    version, number(count), Math.round(100 * count / total) + ' %', number(failed),
  ]), 'Nobody has reported yet')
}
`
