import { call, element, page, post, say } from './shared.ts'
import type { PageStatus } from './shared.ts'

/** The smallest limit that the launcher takes. */
const LEAST_LIMIT = 1024
const MEGABYTE = 1_000_000
const FIELDS = [
  'channel',
  'access-code',
  'limit',
  'background-limit',
  'ask-above',
  'night-only',
  'night-from',
  'night-to',
  'pause-playing',
  'reports',
  'language',
] as const
let isTouched = false

function field(id: (typeof FIELDS)[number]): HTMLInputElement {
  return element<HTMLInputElement>(id)
}

function inMegabytes(value: number | undefined): string {
  if (value === undefined) return ''
  return (value / MEGABYTE).toLocaleString(page.language, { maximumFractionDigits: 3, useGrouping: false })
}

/** Shows the settings, unless the player is just changing them. */
export function fillSettings({ settings }: PageStatus): void {
  if (isTouched) return
  const { channel, limit, backgroundLimit, askAbove, downloadHours, pauseWhilePlaying, reports } = settings
  field('channel').value = channel
  field('limit').value = inMegabytes(limit)
  field('background-limit').value = inMegabytes(backgroundLimit)
  field('ask-above').value = inMegabytes(askAbove)
  field('ask-above').placeholder = '1000'
  const [from = '01:00', to = '07:00'] = downloadHours?.split('-') ?? []
  field('night-only').checked = downloadHours !== undefined
  field('night-from').value = from
  field('night-to').value = to
  field('pause-playing').checked = pauseWhilePlaying === true
  // Only where the studio asked for them is there something to decide.
  for (const id of ['reports', 'reports-label']) element(id).hidden = reports === undefined
  field('reports').checked = reports === true
  field('language').value = page.language
}

/** The megabytes in a field; `null` for none, `undefined` for something else, which then has the focus. */
function readBytes(id: (typeof FIELDS)[number], isLimit: boolean): number | null | undefined {
  const text = field(id).value.trim().replace(',', '.') // half of Europe writes 0,5
  const number = Number(text)
  if (text === '' || (isLimit && number === 0)) return null // nothing and 0 both mean: no limit
  const value = isLimit ? Math.max(LEAST_LIMIT, Math.round(number * MEGABYTE)) : Math.round(number * MEGABYTE)
  if (Number.isSafeInteger(value) && value >= 0) return value
  refuse(id)
  return undefined
}

/** Says at a field that it cannot be saved like this. */
function refuse(id: (typeof FIELDS)[number]): void {
  const reason = document.createElement('small')
  reason.id = 'refused-field'
  reason.className = 'bad'
  reason.setAttribute('role', 'alert')
  reason.textContent = say('error.settings')
  field(id).after(reason)
  field(id).setAttribute('aria-invalid', 'true')
  field(id).setAttribute('aria-errormessage', reason.id)
  field(id).focus()
}

function forgetRefusal(): void {
  document.getElementById('refused-field')?.remove()
  for (const id of FIELDS) field(id).removeAttribute('aria-invalid')
}

async function save(): Promise<void> {
  forgetRefusal()
  if (!field('channel').checkValidity() || field('channel').value === '') return refuse('channel')
  const limit = readBytes('limit', true)
  const backgroundLimit = readBytes('background-limit', true)
  const askAbove = readBytes('ask-above', false)
  if (limit === undefined || backgroundLimit === undefined || askAbove === undefined) return
  const [from, to] = [field('night-from').value, field('night-to').value]
  if (field('night-only').checked && (from === '' || to === '')) return refuse('night-to')
  isTouched = false
  const isSaved = await post('settings', {
    channel: field('channel').value,
    limit,
    backgroundLimit,
    askAbove,
    downloadHours: field('night-only').checked ? `${from}-${to}` : null,
    pauseWhilePlaying: field('pause-playing').checked ? true : null,
    ...(field('reports').hidden ? {} : { reports: field('reports').checked }),
    language: field('language').value,
  })
  const isAccepted = isSaved && (await saveAccessCode())
  if (isAccepted) element('save').textContent = say('saved')
}

/** The code goes to the launcher and is not kept in the page. */
async function saveAccessCode(): Promise<boolean> {
  const code = field('access-code').value.trim()
  if (code === '') return true
  const isSaved = await post('access-code', { code })
  if (isSaved) field('access-code').value = ''
  else refuse('access-code')
  return isSaved
}

/** Hands the report over as a file, through the browser. */
async function saveReport(): Promise<void> {
  const response = await call('/api/report')
  if (!response.ok) return
  const link = document.createElement('a')
  link.href = URL.createObjectURL(await response.blob())
  link.download = 'launcher-report.txt'
  link.click()
  URL.revokeObjectURL(link.href)
}

/** Listens to the fields. */
export function watchSettings(): void {
  for (const id of FIELDS)
    field(id).addEventListener('input', () => {
      isTouched = true
    })
  element('save').addEventListener('click', () => void save())
  element('report').addEventListener('click', () => void saveReport())
}
