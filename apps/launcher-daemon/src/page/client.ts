import { showMarkdown } from './markdown.ts'
import { chooseLanguage, english, errorWord, isLanguage, isWord, LANGUAGE_NAMES, stateWord, word } from './words.ts'
import type { Language, Word, Words } from './words.ts'

interface PageProgress {
  phase: string
  downloadedBytes: number
  downloadTotalBytes: number
  diskBytes: number
  diskTotalBytes: number
  bytesPerSecond: number
  secondsLeft?: number
}
interface PageError {
  code: string
  message: string
  hint?: string
  kind: string
}
interface PageStatus {
  folder: string
  channel: string
  state: string
  version?: string
  trust: 'pinned' | 'current' | 'stale' | 'barred' | 'forked'
  reason?: { code: string; message: string }
  notes?: string
  needsKey: boolean
  offered?: string
  unfinished?: string
  canRollBack: boolean
  paused: boolean
  activity?: string
  isRunning: boolean
  needsSetup: boolean
  offline: boolean
  lastError?: PageError
  lastResult?: { activity: string; outcome: string }
  settings: { channel: string; limit?: number; language?: Language }
  progress: PageProgress
}

let status: PageStatus | undefined
/** What the studio offers; empty means all. */
const offered = (document.querySelector<HTMLMetaElement>('meta[name="languages"]')?.content ?? '')
  .split(' ')
  .filter(isLanguage)
let language: Language = chooseLanguage(navigator.languages, offered)
let words: Words = english
let settingsTouched = false
let setupTouched = false

/** Changes the language; the words come from this launcher. */
async function speak(wanted: Language): Promise<void> {
  language = wanted
  const loaded = wanted === 'en' ? english : ((await import(`./words-${wanted}.js`)) as { readonly words: Words }).words
  if (language !== wanted) return // another one was chosen meanwhile
  words = loaded
  document.documentElement.lang = wanted
  if (status !== undefined) show(status)
}

function listLanguages(): void {
  const names = Object.entries(LANGUAGE_NAMES).filter(
    ([tag]) => offered.length === 0 || offered.includes(tag as Language),
  )
  element('language').replaceChildren(...names.map(([tag, name]) => new Option(name, tag)))
}

function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

function say(name: Word, places: Record<string, string> = {}): string {
  return word(words, name, places)
}

function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB']
  let value = count
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1
  return `${value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${units[unit] ?? ''}`
}

function time(seconds: number): string {
  if (seconds < 90) return say('seconds', { n: String(seconds) })
  if (seconds < 5400) return say('minutes', { n: String(Math.round(seconds / 60)) })
  return say('hours', { n: (seconds / 3600).toLocaleString(language, { maximumFractionDigits: 1 }) })
}

/** Long paths lose their middle. */
function shortened(path: string): string {
  return path.length <= 60 ? path : `${path.slice(0, 28)}…${path.slice(-30)}`
}

/** The session came with the page, or is the one this tab already had. */
function takeSession(): string {
  const given = document.querySelector<HTMLMetaElement>('meta[name="session"]')?.content ?? ''
  if (given !== '') {
    sessionStorage.setItem('session', given)
    history.replaceState(null, '', '/')
    return given
  }
  return sessionStorage.getItem('session') ?? ''
}

const session = takeSession()

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  return await fetch(path, { ...init, headers: { ...init.headers, authorization: `Bearer ${session}` } })
}

interface Problem {
  readonly code: string
  readonly title: string
  readonly kind: string
}

/** Asks for a change; the answer says why it was refused. */
async function send(name: string, body: object): Promise<Problem | undefined> {
  const response = await call(`/api/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return response.ok ? undefined : ((await response.json()) as Problem)
}

/** As {@link send}; a refusal is shown in the banner. */
async function post(name: string, body: object = {}): Promise<boolean> {
  const problem = await send(name, body)
  if (problem !== undefined) showBanner('care', `${say(errorWord(problem))} (${problem.title})`)
  return problem === undefined
}

function showBanner(kind: 'bad' | 'care' | undefined, text: string, button?: { text: string; run: () => void }): void {
  const banner = element('banner')
  banner.hidden = kind === undefined
  banner.className = kind ?? ''
  banner.replaceChildren(document.createTextNode(text))
  if (button === undefined) return
  const made = document.createElement('button')
  made.type = 'button'
  made.textContent = button.text
  made.addEventListener('click', button.run)
  banner.append(made)
}

function banner(now: PageStatus): void {
  const { lastError } = now
  if (now.trust === 'barred')
    return showBanner('bad', `${say('trust.barred')} ${say('barredHelp')} (${now.reason?.code ?? ''})`)
  if (now.offline) return showBanner('care', say('offline'))
  if (lastError !== undefined) {
    const mayPlay = lastError.code === 'LA_BARRED' && now.version !== undefined
    const name = errorWord(lastError)
    const isBad = name === 'error.refused'
    const text = `${say(name)} (${lastError.code})`
    return showBanner(
      isBad ? 'bad' : 'care',
      text,
      mayPlay ? { text: say('playInstalled'), run: () => void post('launch', { playInstalled: true }) } : undefined,
    )
  }
  if (now.paused) return showBanner('care', say('paused'))
  showBanner(undefined, '')
}

function showProgress(progress: PageProgress): void {
  const isFetch = progress.downloadTotalBytes > 0 && ['fetch', 'stage'].includes(progress.phase)
  const done = isFetch ? progress.downloadedBytes : progress.diskBytes
  const total = isFetch ? progress.downloadTotalBytes : progress.diskTotalBytes
  const bar = element<HTMLProgressElement>('bar')
  bar.value = total === 0 ? 0 : Math.floor((done / total) * 1000)
  const parts = [say('figures', { done: bytes(done), total: bytes(total) })]
  const isMoving = isFetch && status?.paused !== true
  if (isMoving && progress.bytesPerSecond > 0) parts.push(say('rate', { rate: bytes(progress.bytesPerSecond) }))
  if (isMoving && progress.secondsLeft !== undefined) parts.push(say('left', { time: time(progress.secondsLeft) }))
  element('figures').textContent = total === 0 ? '' : parts.join(' · ')
}

function stateWords(now: PageStatus): string {
  if (now.isRunning) return say('running')
  if (now.paused) return say('pausedState')
  if (now.activity !== undefined) return say(stateWord(now.state))
  if (now.unfinished !== undefined) return say('unfinished', { version: now.unfinished })
  if (now.version === undefined) return say('nothing')
  return say(now.trust === 'barred' ? 'barredState' : 'ready')
}

/** What the last long action came to. */
function resultWord({ lastResult, lastError, activity }: PageStatus): Word | undefined {
  if (lastResult === undefined || lastError !== undefined || activity !== undefined) return undefined
  if (lastResult.activity === 'repair') return lastResult.outcome === 'repaired' ? 'doneRepaired' : 'doneFine'
  return lastResult.activity === 'update' && lastResult.outcome === 'updated' ? 'doneUpdated' : undefined
}

/** After a rollback the installed release is a true one, but not the newest. */
function trustText(now: PageStatus, trust: PageStatus['trust']): string {
  const isOlder =
    trust === 'current' && now.version !== undefined && now.offered !== undefined && now.offered !== now.version
  return isOlder ? say('trust.older', { version: now.offered ?? '' }) : say(`trust.${trust}`)
}

function show(now: PageStatus): void {
  status = now
  if (now.settings.language !== undefined && now.settings.language !== language) void speak(now.settings.language)
  document.documentElement.lang = language
  for (const node of document.querySelectorAll<HTMLElement>('[data-word]')) {
    const name = node.dataset['word'] ?? ''
    if (isWord(name)) node.textContent = say(name)
  }
  element('setup').hidden = !now.needsSetup
  element('work').hidden = now.needsSetup
  if (now.needsSetup && !setupTouched) element<HTMLInputElement>('setup-folder').value = now.folder
  const busy = now.activity !== undefined
  element('release').textContent =
    now.version === undefined ? '' : say('release', { version: now.version, channel: now.channel })
  element('state').textContent = stateWords(now)
  const result = resultWord(now)
  element('result').textContent = result === undefined ? '' : say(result)
  const isHalfDone = now.paused && now.progress.downloadTotalBytes > 0
  element('progress').hidden = now.activity === 'rollback' || !(busy || isHalfDone)
  const play = element<HTMLButtonElement>('play')
  play.textContent = say(now.unfinished !== undefined ? 'finish' : now.version === undefined ? 'install' : 'play')
  play.disabled = busy || now.isRunning || now.trust === 'barred' || (now.paused && now.version === undefined)
  const pause = element<HTMLButtonElement>('pause')
  pause.hidden = !(now.paused || (busy && ['fetch', 'plan', 'trust'].includes(now.state)))
  pause.textContent = say(now.paused ? 'resume' : 'pause')
  for (const id of ['update', 'repair', 'rollback'])
    element<HTMLButtonElement>(id).disabled =
      busy || now.paused || (id !== 'update' && (now.version === undefined || now.isRunning))
  element('rollback').hidden = !now.canRollBack
  const trust = now.version === undefined && now.trust === 'current' ? 'pinned' : now.trust
  element('trust').textContent = trustText(now, trust)
  element('trust-mark').className = trust
  element('key').textContent = say(now.version === undefined ? 'keyNone' : now.needsKey ? 'keyFine' : 'keyless')
  element('folder').textContent = shortened(now.folder)
  element('folder').title = now.folder
  if (now.notes === undefined)
    element('notes').textContent = now.trust === 'barred' ? '' : say(now.version === undefined ? 'newsLater' : 'noNews')
  else showMarkdown(element('notes'), now.notes)
  if (!settingsTouched) fillSettings(now)
  banner(now)
  showProgress(now.progress)
}

function fillSettings(now: PageStatus): void {
  element<HTMLInputElement>('channel').value = now.settings.channel
  element<HTMLInputElement>('limit').value =
    now.settings.limit === undefined ? '' : String(Math.round(now.settings.limit / 1000))
  element<HTMLSelectElement>('language').value = language
}

/** Nothing is downloaded before this. */
async function install(): Promise<void> {
  const error = element('setup-error')
  error.hidden = true
  const problem = await send('setup', { folder: element<HTMLInputElement>('setup-folder').value.trim() })
  if (problem === undefined) return
  error.textContent = `${say(errorWord(problem))} (${problem.title})`
  error.hidden = false
  element('setup-folder').focus()
}

async function save(): Promise<void> {
  const limitText = element<HTMLInputElement>('limit').value.trim()
  // Nothing and 0 both mean: no limit.
  const number = Number(limitText)
  const limit = limitText === '' || number === 0 ? null : Math.max(1024, Math.round(number * 1000))
  if (limit !== null && !Number.isSafeInteger(limit)) return element('limit').focus()
  const chosen = element<HTMLSelectElement>('language').value
  settingsTouched = false
  const isSaved = await post('settings', {
    channel: element<HTMLInputElement>('channel').value,
    limit,
    language: chosen,
  })
  if (isSaved) element('save').textContent = say('saved')
}

function take(name: string, data: string): void {
  if (name === 'status') return show(JSON.parse(data) as PageStatus)
  if (name !== 'progress') return
  const progress = JSON.parse(data) as PageProgress
  if (status !== undefined) status.progress = progress
  showProgress(progress)
}

/** Reads one stream of events to its end. EventSource would do, but cannot send the session in a header. */
async function readEvents(response: Response): Promise<void> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
    const blocks = (rest + part.value).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block)?.[1]
      const data = /^data: (.*)$/m.exec(block)?.[1]
      if (event !== undefined && data !== undefined) take(event, data)
    }
  }
}

const RECONNECT_MS = 1_000

async function listen(): Promise<void> {
  try {
    const response = await call('/api/events')
    if (response.status === 403) return showBanner('care', say('closedPage'))
    if (response.ok) await readEvents(response)
  } catch {
    // the launcher ended or restarts
  }
  showBanner('care', say('gone'))
  setTimeout(() => void listen(), RECONNECT_MS)
}

element('play').addEventListener(
  'click',
  () => void post(status?.version === undefined || status.unfinished !== undefined ? 'update' : 'launch'),
)
element('pause').addEventListener('click', () => void post(status?.paused === true ? 'resume' : 'pause'))
for (const id of ['update', 'repair', 'rollback']) element(id).addEventListener('click', () => void post(id))
for (const id of ['channel', 'limit', 'language']) {
  element(id).addEventListener('input', () => {
    settingsTouched = true
  })
}
element('setup-install').addEventListener('click', () => void install())
element('setup-folder').addEventListener('input', () => {
  setupTouched = true
})
element('save').addEventListener('click', () => void save())
listLanguages()
void speak(language)
void listen()
