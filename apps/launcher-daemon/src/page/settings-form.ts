import { call, element, page, post, say } from './shared.ts'
import type { PageStatus } from './shared.ts'

/** The smallest limit that the launcher takes. */
const LEAST_LIMIT = 1024
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

function inUnits(value: number | undefined, unit: number): string {
  return value === undefined ? '' : String(Math.round(value / unit))
}

/** Shows the settings, unless the player is just changing them. */
export function fillSettings({ settings }: PageStatus): void {
  if (isTouched) return
  const { channel, limit, backgroundLimit, askAbove, downloadHours, pauseWhilePlaying, reports } = settings
  field('channel').value = channel
  field('limit').value = inUnits(limit, 1000)
  field('background-limit').value = inUnits(backgroundLimit, 1000)
  field('ask-above').value = inUnits(askAbove, 1_000_000)
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

/** The number in a field times its unit; `null` for none, `undefined` for something else, which then has the focus. */
function readNumber(id: (typeof FIELDS)[number], unit: number, isLimit: boolean): number | null | undefined {
  const text = field(id).value.trim()
  const number = Number(text)
  if (text === '' || (isLimit && number === 0)) return null // nothing and 0 both mean: no limit
  const value = isLimit ? Math.max(LEAST_LIMIT, Math.round(number * unit)) : Math.round(number * unit)
  if (Number.isSafeInteger(value) && value >= 0) return value
  field(id).focus()
  return undefined
}

async function save(): Promise<void> {
  const limit = readNumber('limit', 1000, true)
  const backgroundLimit = readNumber('background-limit', 1000, true)
  const askAbove = readNumber('ask-above', 1_000_000, false)
  if (limit === undefined || backgroundLimit === undefined || askAbove === undefined) return
  const [from, to] = [field('night-from').value, field('night-to').value]
  if (field('night-only').checked && (from === '' || to === '')) return field('night-from').focus()
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
  else field('access-code').focus()
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
