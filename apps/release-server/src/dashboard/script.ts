/** Script of the dashboard: plain DOM, text only ever set as text, changes told by server-sent events. */
export const pageScript = `
const $ = (id) => document.getElementById(id)
const el = (name, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(name), properties)
  node.append(...children.filter((child) => child !== null && child !== undefined))
  return node
}
const say = (text) => { $('live').textContent = text }
const bytes = (count) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  while (count >= 1024 && at < units.length - 1) { count /= 1024; at += 1 }
  return (at === 0 ? count : count.toFixed(1)) + ' ' + units[at]
}
const days = (time) => Math.floor((Date.parse(time) - Date.now()) / 86400000)

async function call(method, path, body) {
  const answer = await fetch(path, { method, headers: body === undefined ? {} : { 'content-type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body) })
  const data = answer.status === 204 ? null : await answer.json().catch(() => null)
  if (!answer.ok) throw Object.assign(new Error((data && (data.detail || data.title)) || 'The server answered ' + answer.status), { status: answer.status, code: data && data.code })
  return data
}

let product = null
let scopes = []
let events = null
const may = (scope) => scopes.includes('admin') || scopes.includes(scope)

function table(node, names, rows) {
  const head = el('thead', {}, el('tr', {}, ...names.map((name) => el('th', { scope: 'col', textContent: name }))))
  const body = el('tbody', {}, ...rows.map((cells) => el('tr', {}, ...cells.map((cell) => el('td', {}, cell instanceof Node ? cell : document.createTextNode(String(cell)))))))
  if (rows.length === 0) body.append(el('tr', {}, el('td', { colSpan: names.length, textContent: 'Nothing yet' })))
  node.replaceChildren(head, body)
}

function due(time, steps) {
  const left = days(time)
  const kind = left < 0 ? 'bad' : left < steps[1] ? 'bad' : left < steps[0] ? 'warn' : ''
  return el('span', { className: kind, textContent: left < 0 ? 'expired ' + time : 'in ' + left + ' days (' + time.slice(0, 10) + ')' })
}

async function act(text, work) {
  say(text + ' …')
  try {
    const view = await work()
    say(view && view.wanted ? text + ': waiting for a head signed by the publisher' : text + ': done')
    await channels()
  } catch (error) { say(text + ' failed: ' + error.message) }
}

function channelCard(view) {
  const path = '/v1/products/' + product.slug + '/channels/' + view.channel
  const percent = view.rollout ? view.rollout.percent : 100
  const output = el('output', { textContent: percent + ' %' })
  const slider = el('input', { type: 'range', min: 0, max: 100, value: percent, id: 'rollout-' + view.channel, disabled: !may('rollout:write') || !view.fallback })
  slider.addEventListener('input', () => { output.textContent = slider.value + ' %' })
  const move = el('button', { type: 'button', textContent: 'Move rollout', disabled: slider.disabled })
  move.addEventListener('click', () => act('Rollout of ' + view.channel + ' to ' + slider.value + ' %', () => call('PATCH', path + '/rollout', { percent: Number(slider.value) })))
  const paused = view.rollout && view.rollout.paused
  const halt = el('button', { type: 'button', textContent: paused ? 'Resume' : 'Halt', disabled: slider.disabled })
  halt.addEventListener('click', () => act((paused ? 'Resume ' : 'Halt ') + view.channel, () => paused ? call('PATCH', path + '/rollout', { paused: false }) : call('POST', path + ':halt', { reason: 'from the dashboard' })))
  const facts = view.manifest
    ? 'Release ' + view.manifest.version + ' (sequence ' + view.manifest.sequence + '), head ' + view.head.sequence + (view.fallback ? ', fallback ' + view.fallback.version : '')
    : 'Nothing published'
  return el('article', { className: 'channel', ariaLabel: 'Channel ' + view.channel },
    el('h3', { textContent: view.channel }),
    el('div', { textContent: facts }),
    view.head ? el('div', {}, 'Head ends ', due(view.head.expires_at, [3, 1])) : null,
    paused ? el('div', { className: 'warn', textContent: 'Halted: nobody new gets this release' }) : null,
    view.wanted ? el('div', { className: 'warn', role: 'note', textContent: 'Waiting for a head from the publisher: ' + view.wanted.action + (view.wanted.percent === null ? '' : ' to ' + view.wanted.percent + ' %') + ', asked for by ' + view.wanted.asked_by }) : null,
    el('div', { className: 'controls' }, el('label', { htmlFor: slider.id, textContent: 'Rollout' }), slider, output, move, halt),
    view.fallback ? null : el('p', { className: 'hint', textContent: 'A rollout needs a head with a fallback.' }))
}

async function channels() {
  const { items } = await call('GET', '/v1/products/' + product.slug + '/channels')
  $('channels').replaceChildren(...items.map(channelCard))
}

async function releases() {
  const { items } = await call('GET', '/v1/products/' + product.slug + '/releases?limit=50')
  table($('releases'), ['Version', 'Channel', 'State', 'Files', 'Size', 'Published', 'New bytes'], items.map((release, at) => {
    const older = items.slice(at + 1).find((other) => other.channel === release.channel)
    const cost = el('button', { type: 'button', textContent: 'Compare', disabled: older === undefined, ariaLabel: 'Compare ' + release.version + ' with the release before' })
    cost.addEventListener('click', async () => {
      const diff = await call('GET', '/v1/products/' + product.slug + '/channels/' + release.channel + '/releases/' + release.version + '/diff/' + older.version)
      cost.replaceWith(bytes(diff.bytes) + ' from ' + older.version + ' (+' + diff.added + ' ~' + diff.changed + ' −' + diff.removed + ')')
    })
    return [release.version, release.channel, release.state, release.files, bytes(release.bytes), release.published_at || '–', cost]
  }))
}

async function trust() {
  product = await call('GET', '/v1/products/' + product.slug)
  const rows = [['Pin', product.pin, '']]
  if (product.log) rows.push(['Key event log', 'event ' + product.log.sn + ', ' + product.log.said, ''])
  if (product.roles) rows.push(['Role document', 'version ' + product.roles.version, due(product.roles.expires_at, [30, 7])])
  table($('trust'), ['What', 'State', 'Due'], rows)
}

async function adoption() {
  if (!may('stats:read')) return table($('adoption'), ['Version', 'Reports', 'Share'], [])
  const { items } = await call('GET', '/v1/products/' + product.slug + '/stats')
  const counts = new Map()
  for (const { version, count } of items) counts.set(version, (counts.get(version) || 0) + count)
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  table($('adoption'), ['Version', 'Reports', 'Share'], [...counts].sort((a, b) => b[1] - a[1]).map(([version, count]) => [version, count, el('meter', { max: total, value: count, ariaLabel: version + ': ' + Math.round(100 * count / total) + ' %' })]))
}

async function audit(event) {
  if (!may('audit:read')) return table($('audit'), ['#', 'When', 'Who', 'What', 'On'], [])
  const last = event ? event.sequence : Number.MAX_SAFE_INTEGER
  const { items } = await call('GET', '/v1/audit?limit=100&after=' + Math.max(0, (event ? last : await lastAudit()) - 100))
  table($('audit'), ['#', 'When', 'Who', 'What', 'On'], items.toReversed().map((entry) => [entry.sequence, entry.at, entry.actor, entry.action, entry.target]))
}

async function lastAudit() {
  let after = 0
  for (;;) {
    const { items } = await call('GET', '/v1/audit?limit=1000&after=' + after)
    if (items.length === 0) return after
    after = items.at(-1).sequence
    if (items.length < 1000) return after
  }
}

async function webhooks() {
  if (!may('admin')) return table($('webhooks'), ['Address', 'Events', 'Since'], [])
  const { items } = await call('GET', '/v1/webhooks')
  table($('webhooks'), ['Address', 'Events', 'Since'], items.map((hook) => [hook.url, hook.events.join(', ') || 'all', hook.created_at]))
}

function listen() {
  if (events) events.close()
  events = new EventSource('/v1/events')
  const kinds = ['channel.publish', 'channel.halt', 'channel.resume', 'channel.rollout', 'release.create', 'release.sign', 'release.pin', 'log.replace', 'roles.stage', 'gc.run', 'token.create', 'token.revoke']
  for (const kind of kinds) events.addEventListener(kind, (message) => {
    const event = JSON.parse(message.data)
    say(event.type + ' on ' + event.target + ' by ' + event.actor)
    Promise.all([channels(), releases(), trust(), audit(event)]).catch((error) => say(error.message))
  })
}

async function show() {
  const { items } = await call('GET', '/v1/products')
  const select = $('product')
  select.replaceChildren(...items.map(({ slug, name }) => el('option', { value: slug, textContent: name })))
  select.hidden = items.length < 2
  product = items.find(({ is_default }) => is_default) || items[0] || null
  $('login').hidden = true
  $('board').hidden = product === null
  $('logout').hidden = false
  if (product === null) return say('There is no product yet')
  select.value = product.slug
  select.onchange = () => { product = items.find(({ slug }) => slug === select.value); refresh() }
  await refresh()
  listen()
}

const refresh = () => Promise.all([channels(), releases(), trust(), adoption(), audit(), webhooks()])

async function start() {
  try {
    const session = await call('GET', '/dashboard/session')
    scopes = session.scopes
    $('who').textContent = session.name
    await show()
  } catch (error) {
    if (error.status !== 401) return say(error.message)
    $('login').hidden = false
    $('token').focus()
  }
}

$('login').addEventListener('submit', async (event) => {
  event.preventDefault()
  $('login-error').textContent = ''
  try {
    await call('POST', '/dashboard/login', { token: $('token').value.trim() })
    $('token').value = ''
    await start()
  } catch (error) { $('login-error').textContent = error.status === 401 ? 'This token is not valid' : error.message }
})
$('logout').addEventListener('click', async () => {
  await call('POST', '/dashboard/logout')
  location.reload()
})
start()
`
