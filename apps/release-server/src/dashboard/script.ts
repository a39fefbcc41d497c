/** Script of the dashboard: login, channels and releases, and live updates by server-sent events. */
export const PAGE_SCRIPT = `
import { $, ask, badge, bytes, call, due, el, nameActors, number, plural, say, table, who } from './view.js'
import * as access from './access.js'
import * as panels from './panels.js'

let product = null
let scopes = []
let events = null
const may = (scope) => scopes.includes('admin') || scopes.includes(scope)

async function act(text, work) {
  say(text + ' …')
  try {
    const view = await work()
    say(view && view.wanted ? text + ': waiting for a head signed by the publisher' : text + ': done')
    await channels()
  } catch (error) { say(text + ' failed: ' + error.message) }
}

const wishes = { halt: 'a halt', resume: 'to resume', rollout: 'a rollout of ' }

function wish({ action, percent, asked_by: by, asked_at: at }) {
  return el('p', { className: 'note', role: 'note' },
    el('strong', { textContent: 'Waiting for a head from the publisher: ' + wishes[action] + (percent === null ? '' : percent + ' %') }),
    el('span', {}, 'Requested by ', who(by), ' at ' + at.replace('T', ' ').replace('Z', '') + '. Publish it with '),
    el('code', { textContent: action === 'halt' ? 'keyturn release halt' : 'keyturn release rollout ' + (action === 'resume' ? '--resume' : '--percent ' + percent) }))
}

function controls(view, path) {
  const percent = view.rollout ? view.rollout.percent : 100
  const id = 'rollout-' + view.channel
  const output = el('output', { textContent: percent + ' %', htmlFor: id })
  const slider = el('input', { type: 'range', min: 0, max: 100, step: 1, value: percent, id, disabled: !may('rollout:write') })
  slider.setAttribute('aria-valuetext', percent + ' %')
  slider.addEventListener('input', () => { output.textContent = slider.value + ' %'; slider.setAttribute('aria-valuetext', slider.value + ' %') })
  const move = el('button', { type: 'button', textContent: 'Move rollout', disabled: slider.disabled })
  move.addEventListener('click', () => act('Rollout of ' + view.channel + ' to ' + slider.value + ' %', () => call('PATCH', path + '/rollout', { percent: Number(slider.value) })))
  const paused = view.rollout !== null && view.rollout.paused
  const halting = () => call('POST', path + ':halt', { reason: 'from the dashboard' })
  const halt = paused ? el('button', { type: 'button', textContent: 'Resume', disabled: slider.disabled }) : ask({
    label: 'Halt', name: 'Halt', question: 'Halt release ' + view.manifest.version, className: 'danger',
    disabled: slider.disabled, work: () => act('Halt ' + view.channel, halting),
  })
  const resume = () => act('Resume ' + view.channel, () => call('PATCH', path + '/rollout', { paused: false }))
  if (paused) halt.addEventListener('click', resume)
  return el('div', { className: 'controls' }, el('label', { htmlFor: id, textContent: 'Rollout' }), slider, output, move, halt)
}

/** What needs a key is done on the publisher's machine: the exact commands, to be copied. */
function commands({ channel, fallback, before }) {
  const earlier = fallback || before
  const on = ' --channel ' + channel
  const lines = [
    ['Give it a new date', 'keyturn release renew' + on],
    ['Promote it', 'keyturn release promote' + on + ' --to ' + (channel === 'stable' ? 'CHANNEL' : 'stable')],
    ...(earlier ? [['Go back to ' + earlier.version, 'keyturn release rollback ' + earlier.version + on]] : []),
    ['Withdraw it for good', 'keyturn release halt --withdraw' + on],
  ]
  const entry = ([what, line]) => [el('dt', { textContent: what }), el('dd', {}, el('code', { textContent: line }))]
  const summary = el('summary', { textContent: 'Commands that need a key' })
  return el('details', {}, summary, el('dl', {}, ...lines.flatMap(entry)))
}

async function signerHint() {
  const report = await call('GET', '/readyz').catch(() => null)
  const check = report && report.checks.find(({ name }) => name === 'head-signer')
  if (!check) return null
  const effect = check.detail === 'connected' ? '; changes take effect at once' : ''
  const className = check.status === 'warn' ? 'warn' : 'hint'
  return el('p', { className, textContent: 'Head signer: ' + check.detail + effect })
}

function scheduled({ version, at }) {
  return el('p', { className: 'hint', textContent: 'Release ' + version + ' is downloaded ahead and opens at ' + at })
}

function channelCard(view) {
  const path = '/v1/products/' + product.slug + '/channels/' + view.channel
  const paused = view.rollout !== null && view.rollout.paused
  const state = view.manifest === null ? badge('empty', '') : paused ? badge('halted', 'bad') : view.rollout !== null && view.rollout.percent < 100 ? badge('rolling out', 'warn') : badge('offered to all', 'ok')
  return el('article', { className: 'card', ariaLabel: 'Channel ' + view.channel },
    el('h3', {}, view.channel, ' ', state),
    view.manifest === null ? el('p', { textContent: 'Nothing published' }) : el('p', {}, el('strong', { textContent: 'Release ' + view.manifest.version }),
      el('span', { className: 'hint', textContent: ' sequence ' + view.manifest.sequence + ', head ' + view.head.sequence + (view.fallback ? '; the others keep ' + view.fallback.version : '') })),
    view.head ? el('p', {}, 'Head ends ', due(view.head.expires_at, [3, 1])) : null,
    view.preload ? scheduled(view.preload) : null,
    paused ? el('p', { className: 'warn', textContent: 'Halted: no other player gets this release' }) : null,
    view.wanted ? wish(view.wanted) : null,
    view.fallback || view.before ? controls(view, path) : view.manifest ? el('p', { className: 'hint', textContent: 'This is the first release that everybody gets: there is none to go back to.' }) : null,
    view.manifest ? commands(view) : null)
}

async function channels() {
  const focused = document.activeElement && document.activeElement.id
  const { items, names } = await call('GET', '/v1/products/' + product.slug + '/channels')
  nameActors(names)
  const signer = await signerHint()
  $('channels').replaceChildren(...items.map(channelCard))
  if (signer) $('channels').append(signer)
  if (items.length === 0) $('channels').append(el('p', { className: 'hint', textContent: 'Nothing is published yet.' }))
  // Keeps the focus on the slider, although it was drawn again.
  if (focused && focused.startsWith('rollout-') && $(focused)) $(focused).focus()
}

async function releases() {
  const { items } = await call('GET', '/v1/products/' + product.slug + '/releases?limit=50')
  table($('releases'), 'Releases, newest first', ['Version', 'Channel', 'State', 'Files', 'Size', 'Published', 'Download from the previous release'], items.map((release, at) => {
    const older = items.slice(at + 1).find((other) => other.channel === release.channel)
    const compare = el('button', { type: 'button', className: 'small', textContent: 'Compare', ariaLabel: 'Compare ' + release.version + ' with the previous release' })
    compare.addEventListener('click', async () => {
      try {
        const diff = await call('GET', '/v1/products/' + product.slug + '/channels/' + release.channel + '/releases/' + release.version + '/diff/' + older.version)
        const text = el('span', { tabIndex: -1, textContent: bytes(diff.bytes) + ' from ' + older.version + ': ' + number(diff.added) + ' added, ' + number(diff.changed) + ' changed, ' + number(diff.removed) + ' removed' })
        compare.replaceWith(text)
        text.focus()
      } catch (error) { say('Compare failed: ' + error.message) }
    })
    const state = badge(release.state + (release.pinned ? ', pinned' : ''), release.state === 'published' ? 'ok' : '')
    return [release.version, release.channel, state, number(release.files), bytes(release.bytes), release.published_at === null ? '–' : release.published_at.slice(0, 10), older === undefined ? '–' : compare]
  }), 'No release yet')
}

/** Each part is shown to callers who may see it; if one fails, the others still work. */
const parts = [
  ['channels', 'releases:read', channels],
  ['releases', 'releases:read', releases],
  ['keys', 'releases:read', () => panels.keys(product)],
  ['trust', 'releases:read', async () => { product = await call('GET', '/v1/products/' + product.slug); panels.trust(product) }],
  ['adoption', 'stats:read', () => panels.adoption(product)],
  ['storage', 'stats:read', panels.storage],
  ['audit', 'audit:read', panels.audit],
  ['tokens', 'admin', access.tokens],
  ['sessions', 'admin', access.sessions],
  ['webhooks', 'admin', access.webhooks],
]

async function refresh(names) {
  await Promise.all(parts.map(async ([name, scope, draw]) => {
    if (names && !names.includes(name)) return
    const section = $(name).closest('section')
    section.hidden = !may(scope)
    if (section.hidden) return
    try { await draw() } catch (error) { say('Cannot show ' + name + ': ' + error.message) }
  }))
}

function listen() {
  if (events) events.close()
  events = new EventSource('/v1/events')
  events.addEventListener('open', () => { $('state').textContent = 'live' })
  events.addEventListener('error', () => { $('state').textContent = 'reconnecting …' })
  const touches = { 'release.verify': ['audit', 'storage'], 'token.create': ['audit', 'tokens'], 'token.revoke': ['audit', 'tokens', 'sessions'],
    'session.end': ['audit', 'sessions'], 'webhook.create': ['audit', 'webhooks'], 'webhook.delete': ['audit', 'webhooks'],
    'webhook.pause': ['audit', 'webhooks'], 'webhook.resume': ['audit', 'webhooks'], 'noise.publish': ['audit', 'keys'], 'gc.run': ['audit', 'releases', 'storage'] }
  const kinds = [...Object.keys(touches), 'channel.publish', 'channel.halt', 'channel.resume', 'channel.rollout', 'release.create', 'release.sign', 'release.pin', 'log.replace', 'roles.stage']
  for (const kind of kinds) events.addEventListener(kind, async (message) => {
    const event = JSON.parse(message.data)
    await refresh(touches[kind] || ['channels', 'releases', 'keys', 'trust', 'audit'])
    const target = event.type.startsWith('token.') ? who('token:' + event.target).textContent : event.target
    say(event.type + ' on ' + target.replace('token:', '') + ' by ' + who(event.actor).textContent)
  })
}

async function show() {
  const { items } = await call('GET', '/v1/products')
  const select = $('product')
  select.replaceChildren(...items.map(({ slug, name }) => el('option', { value: slug, textContent: name })))
  $('product-choice').hidden = items.length < 2
  product = items.find(({ is_default }) => is_default) || items[0] || null
  $('login').hidden = true
  $('board').hidden = product === null
  $('logout').hidden = false
  if (product === null) return say('There is no product yet: create one with keyturn init')
  select.value = product.slug
  select.onchange = () => { product = items.find(({ slug }) => slug === select.value); refresh() }
  await refresh()
  say(plural(items.length, 'product', 'products') + ' on this server')
  listen()
}

async function start() {
  try {
    const session = await call('GET', '/dashboard/session')
    scopes = session.scopes
    nameActors({ [session.name]: session.title })
    access.tokenForm(session)
    access.webhookForm()
    $('who').replaceChildren(who(session.name))
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
    $('main').focus()
  } catch (error) { $('login-error').textContent = error.status === 401 ? 'This token is not valid' : error.message }
})
$('logout').addEventListener('click', async () => {
  await call('POST', '/dashboard/logout')
  location.reload()
})
start()
`
