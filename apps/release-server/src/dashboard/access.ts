/** The parts of the dashboard where access is given and taken: tokens, sessions and webhooks. */
export const ACCESS_SCRIPT = `
import { $, ask, badge, call, due, el, nameActors, number, say, table, who } from './view.js'

const day = (time) => time === null ? '–' : el('time', { dateTime: time, textContent: time.slice(0, 10) })
const minute = (time) => el('time', { dateTime: time, textContent: time.slice(0, 16).replace('T', ' ') })
const words = (text) => text.split(/[\\s,]+/).filter((word) => word !== '')
const limits = ({ products, channels }) =>
  [...products, ...channels.map((name) => 'channel ' + name)].join(', ') || 'everything'

async function act(what, work, then) {
  say(what + ' …')
  try {
    await work()
    await then()
    say(what + ': done')
  } catch (error) { say(what + ' failed: ' + error.message) }
}

/** A secret, this once: it is on the page until it is dismissed, and nowhere else. */
function showSecret(place, secret, what) {
  const code = el('code', { textContent: secret, tabIndex: -1 })
  const copy = el('button', { type: 'button', textContent: 'Copy' })
  const done = el('button', { type: 'button', textContent: 'I have stored it' })
  copy.addEventListener('click', async () => {
    try { await navigator.clipboard.writeText(secret); say('Copied') } catch { getSelection().selectAllChildren(code) }
  })
  done.addEventListener('click', () => { place.replaceChildren() })
  place.replaceChildren(el('div', { className: 'note', role: 'note' },
    el('strong', { textContent: what + ' It is shown this once.' }), code,
    el('span', { className: 'controls' }, copy, done)))
  code.focus()
}

function stateOf(token) {
  if (token.revoked_at !== null) return badge('revoked', 'bad')
  return Date.parse(token.expires_at) <= Date.now() ? badge('expired', '') : badge('valid', 'ok')
}

function revokeButton(token, refresh) {
  if (token.revoked_at !== null || Date.parse(token.expires_at) <= Date.now()) return '–'
  return ask({
    label: 'Revoke', name: 'Revoke ' + token.name, question: 'Revoke "' + token.name + '"',
    work: () => act('Revoke ' + token.name, () => call('DELETE', '/v1/tokens/' + token.id), refresh),
  })
}

export async function tokens() {
  const { items } = await call('GET', '/v1/tokens')
  nameActors(Object.fromEntries(items.map(({ id, name }) => ['token:' + id, name])))
  const byState = (token) => token.revoked_at !== null || Date.parse(token.expires_at) <= Date.now() ? 1 : 0
  const sorted = items.sort((a, b) => byState(a) - byState(b) || (a.created_at < b.created_at ? 1 : -1))
  table($('tokens'), 'Tokens', ['Name', 'May', 'Reaches', 'State', 'Expires', 'Last used', 'Action'],
    sorted.map((token) => [
      el('span', { title: 'token:' + token.id, textContent: token.name }), token.scopes.join(', '), limits(token),
      stateOf(token), byState(token) === 0 ? due(token.expires_at, [14, 3]) : day(token.expires_at),
      day(token.last_used_at), revokeButton(token, tokens),
    ]), 'No tokens')
}

/** The form of a new token: only what the caller may give can be chosen. */
export function tokenForm(session) {
  const form = $('token-form')
  const all = form.dataset.scopes.split(' ')
  const may = session.scopes.includes('admin') ? all : session.scopes
  $('token-scopes').replaceChildren(...may.map((scope) => el('label', {},
    el('input', { type: 'checkbox', name: 'scope', value: scope }), ' ' + scope)))
  form.elements.products.value = session.products.join(', ')
  form.elements.channels.value = session.channels.join(', ')
  form.onsubmit = async (event) => {
    event.preventDefault()
    const { name, days, products, channels } = form.elements
    const scopes = [...form.querySelectorAll('[name=scope]:checked')].map(({ value }) => value)
    $('token-error').textContent = scopes.length === 0 ? 'Choose what the token may do' : ''
    if (scopes.length === 0) return
    try {
      const made = await call('POST', '/v1/tokens', {
        name: name.value.trim(), scopes, days: Number(days.value),
        products: words(products.value), channels: words(channels.value),
      })
      name.value = ''
      for (const box of form.querySelectorAll('[name=scope]')) box.checked = false
      $('new-token').open = false
      await tokens()
      showSecret($('token-secret'), made.secret, 'The token "' + made.token.name + '".')
    } catch (error) { $('token-error').textContent = error.message }
  }
}

export async function sessions() {
  const { items, names } = await call('GET', '/v1/sessions')
  nameActors(names)
  table($('sessions'), 'Open sessions of the dashboard', ['Who', 'Since', 'Until', 'Action'], items.map((session) => [
    who(session.actor), minute(session.started_at), minute(session.expires_at),
    ask({
      label: 'End', name: 'End the session of ' + who(session.actor).textContent, question: 'End this session',
      work: () => act('End the session', () => call('DELETE', '/v1/sessions/' + session.id), sessions),
    }),
  ]), 'No open sessions')
}

function lastOf({ last, paused }) {
  if (last === null) return paused ? '–' : 'nothing sent yet'
  const answer = last.status === null ? 'no answer' : 'answered ' + last.status
  return el('span', {}, badge(last.ok ? 'delivered' : 'failed', last.ok ? 'ok' : 'bad'),
    ' ' + answer + ', ', minute(last.at))
}

const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms) })

/** Sends a test event and waits a little for what becomes of it. */
async function ping(hook) {
  say('Test event to ' + hook.url + ' …')
  try {
    await call('POST', '/v1/webhooks/' + hook.id + '/test')
    for (let tries = 0; tries < 10; tries++) {
      await wait(1000)
      const { items } = await call('GET', '/v1/webhooks')
      const now = items.find(({ id }) => id === hook.id)
      if (!now || now.last === null || (hook.last !== null && now.last.at === hook.last.at)) continue
      await webhooks()
      const answer = now.last.status === null ? 'no answer' : 'answered ' + now.last.status
      return say('Test event to ' + hook.url + ': ' + (now.last.ok ? 'delivered' : answer))
    }
    say('Test event to ' + hook.url + ': still on its way')
  } catch (error) { say('Test event failed: ' + error.message) }
}

function hookActions(hook) {
  const send = el('button', { type: 'button', className: 'small', textContent: 'Send a ping', disabled: hook.paused,
    ariaLabel: 'Send a ping to ' + hook.url })
  send.addEventListener('click', () => ping(hook))
  const word = hook.paused ? 'Resume' : 'Pause'
  const pause = el('button', { type: 'button', className: 'small', textContent: word, ariaLabel: word + ' '
    + hook.url })
  pause.addEventListener('click', () => act(word + ' webhook',
    () => call('PATCH', '/v1/webhooks/' + hook.id, { paused: !hook.paused }), webhooks))
  const remove = ask({
    label: 'Remove', name: 'Remove ' + hook.url, question: 'Remove this webhook',
    work: () => act('Remove webhook', () => call('DELETE', '/v1/webhooks/' + hook.id), webhooks),
  })
  return el('span', { className: 'controls' }, send, pause, remove)
}

export async function webhooks() {
  const { items } = await call('GET', '/v1/webhooks')
  table($('webhooks'), 'Webhooks', ['Address', 'Events', 'State', 'Last delivery', 'Action'], items.map((hook) => [
    hook.url, hook.events.join(', ') || 'all', hook.paused ? badge('paused', 'warn') : badge('on', 'ok'),
    lastOf(hook), hookActions(hook),
  ]), 'No webhooks')
}

export function webhookForm() {
  const form = $('webhook-form')
  form.onsubmit = async (event) => {
    event.preventDefault()
    $('webhook-error').textContent = ''
    try {
      const made = await call('POST', '/v1/webhooks', {
        url: form.elements.url.value.trim(), events: words(form.elements.events.value),
      })
      form.reset()
      $('new-webhook').open = false
      await webhooks()
      showSecret($('webhook-secret'), made.secret, 'The secret that signs what is sent to ' + made.webhook.url + '.')
    } catch (error) { $('webhook-error').textContent = error.message }
  }
}
`
