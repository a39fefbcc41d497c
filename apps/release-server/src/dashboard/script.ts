/** Script of the dashboard: login, channels and releases, and live updates by server-sent events. */
export const PAGE_SCRIPT = `
import { $, ask, badge, call, copyable, due, el, nameActors, plural, say, who } from './view.js'
import * as access from './access.js'
import { audit, auditForm } from './audit.js'
import { health } from './health.js'
import { releases } from './releases.js'
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

/** A halt that nobody signed yet ends with a resume: then it was never asked for. */
function withdraw({ channel, wanted }, path) {
  if (wanted.action !== 'halt' || !may('rollout:write')) return null
  const button = el('button', { type: 'button', className: 'small', textContent: 'Withdraw the request' })
  button.addEventListener('click', () => act('Withdraw the halt of ' + channel,
    () => call('PATCH', path + '/rollout', { paused: false })))
  return button
}

function wish(view, path) {
  const { action, percent, asked_by: by, asked_at: at } = view.wanted
  return el('p', { className: 'note', role: 'note' },
    el('strong', { textContent: 'Waiting for a head from the publisher: ' + wishes[action] + (percent === null ? ''
      : percent + ' %') }),
    el('span', {}, 'Requested by ', who(by), ' at ' + at.replace('T', ' ').replace('Z', '') + '. Publish it with '),
    el('code', { textContent: action === 'halt' ? 'keyturn release halt' : 'keyturn release rollout '
      + (action === 'resume' ? '--resume' : '--percent ' + percent) }),
    action === 'halt' ? ' A head signer signs it once it is connected. ' : '', withdraw(view, path))
}

function controls(view, path) {
  const percent = view.rollout ? view.rollout.percent : 100
  const id = 'rollout-' + view.channel
  const output = el('output', { textContent: percent + ' %', htmlFor: id })
  const slider = el('input', { type: 'range', min: 0, max: 100, step: 1, value: percent, id,
    disabled: !may('rollout:write') })
  slider.setAttribute('aria-valuetext', percent + ' %')
  slider.addEventListener('input', () => { output.textContent = slider.value
    + ' %'; slider.setAttribute('aria-valuetext', slider.value + ' %') })
  const move = el('button', { type: 'button', textContent: 'Move rollout', disabled: slider.disabled })
  move.addEventListener('click', () => act('Rollout of ' + view.channel + ' to ' + slider.value + ' %',
    () => call('PATCH', path + '/rollout', { percent: Number(slider.value) })))
  const paused = view.rollout !== null && view.rollout.paused
  const halting = () => call('POST', path + ':halt', { reason: 'from the dashboard' })
  const halt = paused ? el('button', { type: 'button', textContent: 'Resume', disabled: slider.disabled }) : ask({
    label: 'Halt', name: 'Halt', question: 'Halt release ' + view.manifest.version, className: 'danger',
    disabled: slider.disabled, work: () => act('Halt ' + view.channel, halting),
  })
  const resume = () => act('Resume ' + view.channel, () => call('PATCH', path + '/rollout', { paused: false }))
  if (paused) halt.addEventListener('click', resume)
  return el('div', { className: 'controls' }, el('label', { htmlFor: id, textContent: 'Rollout' }), slider, output,
    move, halt)
}

/** What needs a key is done on the publisher's machine: the exact commands, to be copied. */
function commands(view) {
  const { channel, fallback, before } = view
  const earlier = fallback || before
  const on = ' --channel ' + channel
  const lines = [
    ['Give it a new date', 'keyturn release renew' + on],
    ['Promote it', 'keyturn release promote ' + view.manifest.version + on + ' --to ' + (channel === 'stable' ?
      'CHANNEL' : 'stable')],
    ...(earlier ? [['Go back to ' + earlier.version, 'keyturn release rollback ' + earlier.version + on]] : []),
    ['Withdraw it for good', 'keyturn release halt --withdraw' + on],
  ]
  const entry = ([what, line]) => [el('dt', { textContent: what }), el('dd', {}, copyable(line))]
  const summary = el('summary', { textContent: 'Commands that need a key' })
  return el('details', {}, summary, el('dl', {}, ...lines.flatMap(entry)))
}

let hasSigner = false

async function signerHint() {
  const report = await call('GET', '/readyz').catch(() => null)
  const check = report && report.checks.find(({ name }) => name === 'head-signer')
  hasSigner = Boolean(check) && check.detail === 'connected'
  if (!check) return null
  const effect = hasSigner ? '; changes take effect at once' : ''
  const className = check.status === 'warn' ? 'warn' : 'hint'
  return el('p', { className, textContent: 'Head signer: ' + check.detail + effect })
}

/** Only where somebody can sign it now; elsewhere the command is below. */
function renewButton({ channel }, path) {
  if (!hasSigner || !may('rollout:write')) return null
  const renew = el('button', { type: 'button', className: 'small', textContent: 'Renew',
    ariaLabel: 'Renew the head of ' + channel })
  renew.addEventListener('click', () => act('Renew the head of ' + channel, () => call('POST', path + ':renew')))
  return renew
}

function scheduled({ version, at }) {
  return el('p', { className: 'hint', textContent: 'Release ' + version + ' is downloaded ahead and opens at ' + at })
}

/** What the channel offers, in one word. */
function stateOf({ manifest, head, rollout }) {
  if (manifest === null) return badge('empty', '')
  if (head !== null && Date.parse(head.expires_at) <= Date.now()) return badge('expired', 'bad')
  if (rollout !== null && rollout.paused) return badge('halted', 'bad')
  return rollout !== null && rollout.percent < 100 ? badge('rolling out', 'warn') : badge('offered to all', 'ok')
}

function channelCard(view) {
  const path = '/v1/products/' + product.slug + '/channels/' + view.channel
  const paused = view.rollout !== null && view.rollout.paused
  const state = stateOf(view)
  return el('article', { className: 'card', ariaLabel: 'Channel ' + view.channel },
    el('h3', {}, view.channel, ' ', state),
    view.manifest === null ? el('p', { textContent: 'Nothing published' }) : el('p', {}, el('strong',
      { textContent: 'Release ' + view.manifest.version }),
      el('span', { className: 'hint', textContent: ' sequence ' + view.manifest.sequence + ', head '
        + view.head.sequence + (view.fallback ? '; the others keep ' + view.fallback.version : '') })),
    view.head ? el('p', { className: 'controls' }, el('span', {}, Date.parse(view.head.expires_at) <= Date.now() ? 'Head ' : 'Head ends ',
      due(view.head.expires_at, [3, 1])),
      renewButton(view, path)) : null,
    view.preload ? scheduled(view.preload) : null,
    paused ? el('p', { className: 'warn', textContent: 'Halted: no other player gets this release' }) : null,
    view.wanted ? wish(view, path) : null,
    view.fallback || view.before ? controls(view, path) : view.manifest ? el('p', { className: 'hint',
      textContent: 'This is the first release that everybody gets: there is none to go back to.' }) : null,
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

/** Each part is shown to callers who may see it; if one fails, the others still work. */
const parts = [
  ['channels', 'releases:read', channels],
  ['health', 'stats:read', () => health(product, may('rollout:write'))],
  ['releases', 'releases:read', () => releases(product, may('rollout:write'))],
  ['keys', 'releases:read', () => panels.keys(product)],
  ['trust', 'releases:read', async () => { product = await call('GET', '/v1/products/'
    + product.slug); await panels.trust(product) }],
  ['adoption', 'stats:read', () => panels.adoption(product)],
  ['storage', 'stats:read', panels.storage],
  ['audit', 'audit:read', audit],
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
    const failure = section.querySelector('.failure')
    try {
      await draw()
      if (failure) failure.remove()
    } catch (error) {
      const text = 'Cannot show this part: ' + error.message
      if (failure) failure.textContent = text
      else section.querySelector('h2').after(el('p', { className: 'bad failure', role: 'alert', textContent: text }))
    }
  }))
  const shown = [...document.querySelectorAll('#board section:not([hidden])')]
  $('places').replaceChildren(...shown.map((one) => el('a', { href: '#s-' + one.dataset.place,
    textContent: one.dataset.title })))
}

function listen() {
  if (events) events.close()
  events = new EventSource('/v1/events')
  events.addEventListener('open', () => { $('state').textContent = 'live' })
  events.addEventListener('error', () => { $('state').textContent = 'reconnecting …' })
  const touches = { 'release.verify': ['audit', 'storage'], 'token.create': ['audit', 'tokens'],
    'token.revoke': ['audit', 'tokens', 'sessions'],
    'session.end': ['audit', 'sessions'], 'webhook.create': ['audit', 'webhooks'], 'webhook.delete': ['audit',
      'webhooks'],
    'webhook.pause': ['audit', 'webhooks'], 'webhook.resume': ['audit', 'webhooks'], 'noise.publish': ['audit',
      'keys'], 'gc.run': ['audit', 'releases', 'storage'], 'release.note': ['audit'],
    'channel.auto-halt': ['audit', 'health'] }
  const kinds = [...Object.keys(touches), 'channel.auto-halt', 'channel.publish', 'channel.halt', 'channel.resume',
    'channel.rollout', 'release.create', 'release.sign', 'release.pin', 'log.replace', 'roles.stage']
  for (const kind of kinds) events.addEventListener(kind, async (message) => {
    const event = JSON.parse(message.data)
    await refresh(touches[kind] || ['channels', 'health', 'releases', 'keys', 'trust', 'audit'])
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
  $('nothing').hidden = product !== null
  if (product === null) return
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
    auditForm()
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
