/** The audit log on the dashboard: its newest entries, and a search through all of them. */
export const AUDIT_SCRIPT = `
import { $, call, el, nameActors, say, table, who } from './view.js'

/** A token is known by its name, which the entry of its making has, and by its id for the pointer. */
const target = ({ action, target: on, facts }) =>
  action.startsWith('token.') && facts.name ? el('span', { title: on, textContent: facts.name }) : on

const facts = (entry) => Object.entries(entry.facts)
  .filter(([name, value]) => value !== null && value !== '' && !(name === 'name' && entry.action.startsWith('token.')))
  .map(([name, value]) => name + ': ' + value).join(', ') || '–'

let shown = []
let cursor = null
/** What is searched for; the newest entries while it is empty. */
let query = ''

function draw() {
  table($('audit'), 'Audit log, newest first', ['#', 'When', 'Who', 'What', 'On', 'Details'], shown.map((entry) => [
    entry.sequence,
    el('time', { dateTime: entry.at, textContent: entry.at.replace('T', ' ').replace('Z', '') }),
    who(entry.actor), entry.action, target(entry), facts(entry),
  ]), cursor === null ? 'Nothing was found' : 'Nothing was found so far')
  $('audit-older').hidden = cursor === null
}

async function load(before) {
  const more = before === null ? '' : '&before=' + before
  const found = await call('GET', '/v1/audit?newest=true&limit=50' + query + more)
  nameActors(found.names)
  shown = before === null ? found.items : [...shown, ...found.items]
  cursor = found.cursor
  draw()
}

/** Draws the newest entries; a search that somebody reads stays as it is. */
export async function audit() {
  if (query === '' && shown.length <= 50) await load(null)
}

export function auditForm() {
  const form = $('audit-form')
  const run = async (before) => {
    try {
      await load(before)
      say(shown.length + (shown.length === 1 ? ' entry' : ' entries') + (cursor === null ? '' : ', older ones can be searched'))
    } catch (error) { say('Search failed: ' + error.message) }
  }
  form.onsubmit = (event) => {
    event.preventDefault()
    query = [...new FormData(form)].filter(([, value]) => value.trim() !== '')
      .map(([name, value]) => '&' + name + '=' + encodeURIComponent(value.trim())).join('')
    run(null)
  }
  form.onreset = () => { query = ''; shown = []; run(null) }
  $('audit-older').onclick = () => run(cursor)
}
`
