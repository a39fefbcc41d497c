/** How updates go: the funnel of a release beside the one before, the rule that halts it, and graphs of downloads. */
export const HEALTH_SCRIPT = `
import { $, badge, bytes, call, el, nameActors, number, plural, say, svg, table, who } from './view.js'

const steps = [
  ['started', 'Update begun'], ['downloaded', 'Downloaded'], ['swapped', 'Put in place'],
  ['confirmed', 'Started well'], ['played', 'Played 30 s'],
  ['failed', 'Update failed'], ['start-failed', 'Start failed'],
]
const isFailure = (step) => step === 'failed' || step === 'start-failed'
const percent = (count, of) => of === 0 ? '' : Math.round(1000 * count / of) / 10 + ' %'

/** A figure with a bar behind it; the bar says nothing that the text does not. */
function barCell(view, step) {
  if (view === null) return '–'
  const count = view.counts[step]
  const share = view.counts.started === 0 ? 0 : Math.min(1, count / view.counts.started)
  const bar = svg('svg', { viewBox: '0 0 100 6', class: 'bar', 'aria-hidden': 'true', preserveAspectRatio: 'none' },
    svg('rect', { width: 100, height: 6, class: 'bar-back' }),
    svg('rect', { width: 100 * share, height: 6, class: isFailure(step) ? 'bar-bad' : 'bar-ok' }))
  const text = el('span', {}, number(count) + ' ', el('span', { className: 'hint', textContent: percent(count,
    view.counts.started) }))
  return el('span', { className: 'figure' }, text, bar)
}

function rateCell(view) {
  if (view === null) return '–'
  return view.confirm_rate === null ? 'nobody yet' : view.confirm_rate + ' % of ' + plural(view.confirm_sample,
    'start', 'starts')
}

function codes(view) {
  const sorted = Object.entries(view.codes).sort((a, b) => b[1] - a[1])
  if (sorted.length === 0) return null
  return el('p', { className: 'hint' }, 'Why: ', ...sorted.flatMap(([code, count], at) => [
    at === 0 ? '' : ', ', el('code', { textContent: code }), ' ' + number(count),
  ]))
}

function ruleText(rule) {
  if (rule === null) return el('p', { className: 'hint', textContent: 'It does not halt by itself.' })
  const { halted } = rule
  const limit = 'below ' + rule.percent + ' % after ' + plural(rule.sample, 'start', 'starts')
  if (halted === null) return el('p', {}, badge('watched', 'ok'), ' Halts by itself ' + limit + ', set by ',
    who(rule.set_by))
  return el('p', {}, badge('halted itself', 'bad'), ' ' + halted.confirm_rate + ' % of '
    + plural(halted.confirm_sample, 'start', 'starts') + ' lived at ' + halted.at.replace('T', ' ').replace('Z',
      '') + ' (' + limit + ')')
}

/** The rule by which the release halts itself: what it is, and a form for those who may change it. */
function rule(health, mayChange, redraw) {
  const path = '/v1/products/' + health.product + '/channels/' + health.channel + '/auto-halt'
  const change = async (what, work) => {
    say(what + ' …')
    try { await work(); say(what + ': done'); await redraw() } catch (error) { say(what + ' failed: ' + error.message) }
  }
  const number = (name, label, value, min, max) => el('label', {}, label + ' ',
    el('input', { type: 'number', name, value, min, max, required: true }))
  const { auto_halt: now } = health
  const form = el('form', { className: 'controls', ariaLabel: 'Auto-halt of ' + health.channel },
    number('percent', 'Halt below, in %', now ? now.percent : 97, 1, 99),
    number('sample', 'after starts', now ? now.sample : 100, 10, 1000000),
    el('button', { textContent: now ? 'Change' : 'Watch' }))
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const { percent, sample } = form.elements
    change('Auto-halt of ' + health.channel,
      () => call('PUT', path, { percent: Number(percent.value), sample: Number(sample.value) }))
  })
  const end = el('button', { type: 'button', textContent: 'Stop watching' })
  end.addEventListener('click', () => change('Auto-halt of ' + health.channel, () => call('DELETE', path)))
  if (now) form.append(end)
  return el('div', {}, ruleText(now), mayChange ? form : null)
}

function channelHealth(health, mayChange, redraw) {
  const { release, before, channel } = health
  const node = el('table')
  const names = ['Step', release.version, before === null ? 'No release before' : before.version + ', before it']
  table(node, 'Steps of updates on ' + channel, names, [
    ...steps.map(([step, words]) => [words, barCell(release, step), barCell(before, step)]),
    ['Starts that lived', rateCell(release), rateCell(before)],
  ])
  const any = (view) => view !== null && Object.values(view.counts).some((count) => count > 0)
  const silence = 'No launcher has reported about this release. Launchers report if they were built with --telemetry.'
  return el('article', { className: 'card', ariaLabel: 'Updates on ' + channel },
    el('h3', { textContent: channel }), any(release) || any(before) ? node : null, codes(release),
    any(release) ? null : el('p', { className: 'hint', textContent: silence }),
    before === null && health.auto_halt === null ? null : rule(health, mayChange, redraw))
}

export async function health(product, mayChange) {
  const { items } = await call('GET', '/v1/products/' + product.slug + '/channels').catch(() => ({ items: [] }))
  const all = await Promise.all(items.filter(({ manifest }) => manifest !== null).map(({ channel }) =>
    call('GET', '/v1/products/' + product.slug + '/channels/' + channel + '/health')))
  nameActors(Object.assign({}, ...all.map(({ names }) => names)))
  const redraw = () => health(product, mayChange)
  $('health').replaceChildren(...all.map((one) => channelHealth(one, mayChange, redraw)))
  if (all.length === 0) $('health').append(el('p', { className: 'hint', textContent: 'Nothing is published yet.' }))
}

const COLORS = 6
const DAYS = 30
const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10)

/** Columns by day, a piece for each version; the table below has the figures. */
function columns(lines, versions, { member, words, shown }) {
  const days = Array.from({ length: DAYS }, (_, at) => dayOf(Date.now() - (DAYS - 1 - at) * 86400000))
  const [step, height, left] = [20, 120, 104]
  const count = (day, version) => lines.filter((line) => line.day === day && line.version === version)
    .reduce((sum, line) => sum + line[member], 0)
  const sums = days.map((day) => versions.reduce((sum, version) => sum + count(day, version), 0))
  const most = Math.max(...sums, 1)
  const label = (text, attributes) => {
    const node = svg('text', attributes)
    node.textContent = text
    return node
  }
  const nodes = days.map((day, at) => {
    let top = height
    const pieces = versions.map((version, index) => {
      const tall = height * count(day, version) / most
      top -= tall
      return svg('rect', { x: left + at * step + 3, y: top, width: step - 6, height: tall, class: 'piece-'
        + (index % COLORS) })
    })
    const title = svg('title')
    title.textContent = day + ': ' + shown(sums[at])
    const name = (DAYS - 1 - at) % 7 === 0
      ? [label(day.slice(5), { x: left + at * step + step / 2, y: height + 20, 'text-anchor': 'middle' })] : []
    return svg('g', {}, title, ...pieces, ...name)
  })
  const width = left + DAYS * step + 26
  const total = sums.reduce((sum, one) => sum + one, 0)
  return svg('svg', { viewBox: '0 -20 ' + width + ' ' + (height + 44), class: 'graph', role: 'img',
    'aria-label': words + ': ' + shown(total) + ' in ' + DAYS + ' days, at most ' + shown(most) + ' on one; the table below has the figures' },
  svg('line', { x1: left, x2: width, y1: height, y2: height, class: 'axis' }),
  svg('line', { x1: left, x2: width, y1: 0, y2: 0, class: 'axis faint' }),
  label(shown(most), { x: left - 6, y: 4, 'text-anchor': 'end' }),
  label('0', { x: left - 6, y: height, 'text-anchor': 'end' }), ...nodes)
}

function graph(title, node) {
  return el('figure', {}, el('figcaption', { className: 'hint', textContent: title }), node)
}

/** What the server counted itself: how many asked, updated and downloaded, by version. */
export function downloads(lines) {
  const sums = new Map()
  for (const { version, offers, manifests, blobs, bytes: size } of lines) {
    const sum = sums.get(version) || { offers: 0, manifests: 0, blobs: 0, size: 0 }
    sums.set(version, { offers: sum.offers + offers, manifests: sum.manifests + manifests, blobs: sum.blobs + blobs,
      size: sum.size + size })
  }
  const newest = new Map()
  for (const { version, day } of lines) if (!(newest.get(version) > day)) newest.set(version, day)
  const sorted = [...sums].sort((a, b) => newest.get(a[0]) < newest.get(b[0]) ? 1
    : newest.get(a[0]) > newest.get(b[0]) ? -1 : b[1].manifests - a[1].manifests)
  const versions = sorted.map(([version]) => version)
  $('graphs').replaceChildren(...(lines.length === 0 ? [] : [
    graph('Updates begun, by day', columns(lines, versions, { member: 'manifests', words: 'Updates begun',
      shown: number })),
    graph('Bytes asked for, by day', columns(lines, versions, { member: 'bytes', words: 'Bytes asked for',
      shown: bytes })),
  ]))
  table($('downloads'), 'Reads by version', ['Version', 'Asked what is current', 'Updates begun',
    'Requests of files', 'Bytes asked for'],
    sorted.map(([version, { offers, manifests, blobs, size }], at) => [
      el('span', {}, el('span', { className: 'key piece-' + (at % COLORS), ariaHidden: 'true' }), version),
      number(offers), number(manifests), number(blobs), bytes(size),
    ]), 'Nobody has asked yet')
}
`
