import { showMarkdown } from './markdown.ts'
import { listParts, watchParts } from './parts.ts'
import { fillSettings, watchSettings } from './settings-form.ts'
import { showSetup, watchSetup } from './setup.ts'
import { bytes, call, element, page, post, say, shortened, showBanner, time } from './shared.ts'
import type { PageProgress, PageStatus } from './shared.ts'
import { chooseLanguage, english, errorWord, isLanguage, isWord, LANGUAGE_NAMES, stateWord } from './words.ts'
import type { Language, Word, Words } from './words.ts'

/** What the studio offers; empty means all. */
const offered = (document.querySelector<HTMLMetaElement>('meta[name="languages"]')?.content ?? '')
  .split(' ')
  .filter(isLanguage)
page.language = chooseLanguage(navigator.languages, offered)

/** Changes the language; the words come from this launcher. */
async function speak(wanted: Language): Promise<void> {
  page.language = wanted
  const loaded = wanted === 'en' ? english : ((await import(`./words-${wanted}.js`)) as { readonly words: Words }).words
  if (page.language !== wanted) return // another one was chosen meanwhile
  page.words = loaded
  document.documentElement.lang = wanted
  if (page.status !== undefined) show(page.status)
}

function listLanguages(): void {
  const names = Object.entries(LANGUAGE_NAMES).filter(
    ([tag]) => offered.length === 0 || offered.includes(tag as Language),
  )
  for (const id of ['language', 'setup-language'])
    element(id).replaceChildren(...names.map(([tag, name]) => new Option(name, tag)))
}

function banner(now: PageStatus): void {
  const { lastError } = now
  if (now.trust === 'barred')
    return showBanner('bad', `${say('trust.barred')} ${say('barredHelp')} (${now.reason?.code ?? ''})`)
  if (now.offline) return showBanner('care', say(now.version === undefined ? 'offlineFirst' : 'offline'))
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

/** No time left is shown from here on. */
const MAX_LEFT_S = 100 * 3600

function showProgress(progress: PageProgress): void {
  const isFetch = progress.downloadTotalBytes > 0 && ['fetch', 'stage'].includes(progress.phase)
  const done = isFetch ? progress.downloadedBytes : progress.diskBytes
  const total = isFetch ? progress.downloadTotalBytes : progress.diskTotalBytes
  const bar = element<HTMLProgressElement>('bar')
  if (total === 0) bar.removeAttribute('value') // something goes on, and nobody knows how long
  else bar.value = Math.floor((done / total) * 1000)
  const parts = [say('figures', { done: bytes(done), total: bytes(total) })]
  const isMoving = isFetch && page.status?.paused !== true
  if (isMoving && progress.bytesPerSecond > 0) parts.push(say('rate', { rate: bytes(progress.bytesPerSecond) }))
  // A download that takes days stands still, or nearly.
  if (isMoving && (progress.secondsLeft ?? MAX_LEFT_S) < MAX_LEFT_S)
    parts.push(say('left', { time: time(progress.secondsLeft ?? 0) }))
  element('figures').textContent = total === 0 ? '' : parts.join(' · ')
}

function stateWords(now: PageStatus): string {
  if (now.isRunning) return say(now.state === 'wait' ? 'waitingState' : 'running')
  if (now.paused) return say('pausedState')
  if (now.activity !== undefined) return say(stateWord(now.state))
  if (now.unfinished !== undefined) return say('unfinished', { version: now.unfinished })
  if (now.version === undefined) return say('nothing')
  return say(now.trust === 'barred' ? 'barredState' : 'ready')
}

/** The release that opens at an hour, in the player's own time. */
function nextWords({ next }: PageStatus): string {
  if (next === undefined) return ''
  const opens = new Date(next.at)
  const format = new Intl.DateTimeFormat(page.language, { dateStyle: 'medium', timeStyle: 'short' })
  const name = next.state === 'ready' ? 'nextReady' : next.state === 'full' ? 'nextFull' : 'nextComing'
  return say(name, { version: next.version, time: format.format(opens) })
}

/** What the last long action came to. */
function resultWord({ lastResult, lastError, activity }: PageStatus): Word | undefined {
  if (lastResult === undefined || lastError !== undefined || activity !== undefined) return undefined
  if (lastResult.activity === 'update' && lastResult.outcome === 'repaired') return 'doneParts'
  if (lastResult.activity === 'repair') return lastResult.outcome === 'repaired' ? 'doneRepaired' : 'doneFine'
  return lastResult.activity === 'update' && lastResult.outcome === 'updated' ? 'doneUpdated' : undefined
}

/** After a rollback the installed release is a true one, but not the newest. */
function trustText(now: PageStatus, trust: PageStatus['trust']): string {
  const isOlder =
    trust === 'current' && now.version !== undefined && now.offered !== undefined && now.offered !== now.version
  return isOlder ? say('trust.older', { version: now.offered ?? '' }) : say(`trust.${trust}`)
}

/** Whether everyone gets the same release, as the public log has it; nothing where the publisher keeps none. */
function publishedText({ published }: PageStatus): string {
  if (published === undefined) return ''
  if ('until' in published) return say('published.waiting')
  const { signed, of, origin, index } = published
  const confirmed = say('published.confirmed', { signed: String(signed), of: String(of) })
  return `${confirmed} ${say('published.where', { index: String(index), log: origin })}`
}

/** While an update downloads, the installed version can be played all the same. */
function mayPlay(now: PageStatus): boolean {
  if (now.isRunning || now.trust === 'barred' || (now.paused && now.version === undefined)) return false
  if (now.activity === undefined) return true
  const isBeside = ['lock', 'recover', 'trust', 'plan', 'preflight', 'fetch', 'stage'].includes(now.state)
  if (now.version === undefined || now.unfinished !== undefined || !isBeside) return false
  return now.activity === 'update' || (now.activity === 'launch' && now.state === 'fetch')
}

/** What is on its way, or before the first install what will come; else what is here. */
function showNews(now: PageStatus): void {
  const next = now.offer ?? { version: now.offered ?? '', notes: now.offeredNotes }
  const isNext = now.trust !== 'barred' && next.version !== '' && next.version !== now.version && !now.canRollBack
  const notes = isNext ? next.notes : now.notes
  element('news-title').textContent = isNext ? say('newsOf', { version: next.version }) : say('news')
  if (notes !== undefined) return showMarkdown(element('notes'), notes)
  const isSoon = now.version === undefined && !isNext
  element('notes').textContent = now.trust === 'barred' ? '' : say(isSoon ? 'newsLater' : 'noNews')
}

/** An update that waits says what for. */
function showWaiting(now: PageStatus): void {
  const { waiting, settings } = now
  element('waiting').hidden = waiting === undefined || now.activity !== undefined
  if (waiting === undefined) return
  const [from = '', to = ''] = (settings.downloadHours ?? '').split('-')
  const places = { version: waiting.version, size: bytes(waiting.bytes), from, to }
  const names = { size: 'waitSize', metered: 'waitMetered', night: 'waitNight', game: 'waitGame' } as const
  element('waiting-text').textContent = say(names[waiting.reason], places)
}

function show(now: PageStatus): void {
  page.status = now
  for (const id of ['work', 'setup']) element(id).inert = false
  if (now.settings.language !== undefined && now.settings.language !== page.language) void speak(now.settings.language)
  document.documentElement.lang = page.language
  for (const node of document.querySelectorAll<HTMLElement>('[data-word]')) {
    const name = node.dataset['word'] ?? ''
    if (isWord(name)) node.textContent = say(name)
  }
  element('setup').hidden = !now.needsSetup
  element('work').hidden = now.needsSetup
  if (now.needsSetup) showSetup(now)
  const busy = now.activity !== undefined
  element('release').textContent =
    now.version === undefined ? '' : say('release', { version: now.version, channel: now.channel })
  element('state').textContent = stateWords(now)
  const result = resultWord(now)
  element('result').textContent = result === undefined ? '' : say(result)
  element('next').textContent = nextWords(now)
  element('next').hidden = now.next === undefined
  const isHalfDone = now.paused && now.progress.downloadTotalBytes > 0
  element('progress').hidden = now.activity === 'rollback' || now.state === 'wait' || !(busy || isHalfDone)
  const play = element<HTMLButtonElement>('play')
  play.textContent = say(now.unfinished !== undefined ? 'finish' : now.version === undefined ? 'install' : 'play')
  play.disabled = !mayPlay(now)
  play.hidden = now.version === undefined && (busy || now.paused)
  const pause = element<HTMLButtonElement>('pause')
  pause.hidden = !(now.paused || (busy && ['fetch', 'plan', 'trust'].includes(now.state)))
  pause.textContent = say(now.paused ? 'resume' : 'pause')
  pause.className = now.paused && play.hidden ? 'main' : ''
  for (const id of ['update', 'repair', 'rollback'])
    element<HTMLButtonElement>(id).disabled =
      busy || now.paused || (id !== 'update' && (now.version === undefined || now.isRunning))
  element('rollback').hidden = !now.canRollBack
  const trust = now.version === undefined && now.trust === 'current' ? 'pinned' : now.trust
  element('trust').textContent = trustText(now, trust)
  element('trust-mark').className = trust
  element('published').textContent = publishedText(now)
  element('refused').textContent = now.refused === undefined ? '' : say('refusedOffer', { code: now.refused.code })
  element('key').textContent = say(now.version === undefined ? 'keyNone' : now.needsKey ? 'keyFine' : 'keyless')
  element('folder').textContent = shortened(now.folder)
  element('folder').title = now.folder
  showNews(now)
  fillSettings(now)
  listParts(now)
  showWaiting(now)
  banner(now)
  showProgress(now.progress)
}

/** The launcher is not there: nothing of what was shown is true any longer, and nothing can be asked for. */
function showGone(name: 'gone' | 'closedPage'): void {
  page.status = undefined
  for (const id of ['work', 'setup']) element(id).inert = true
  element('progress').hidden = true
  for (const id of ['state', 'result']) element(id).textContent = ''
  showBanner('care', say(name))
}

let isReplaced = false

function take(name: string, data: string): void {
  if (name === 'replaced') {
    isReplaced = true
    page.status = undefined // nothing is lost with this window
    window.close()
  }
  if (name === 'status') return show(JSON.parse(data) as PageStatus)
  if (name !== 'progress') return
  const progress = JSON.parse(data) as PageProgress
  if (page.status !== undefined) page.status.progress = progress
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
    if (response.status === 403) return showGone('closedPage')
    if (response.ok) await readEvents(response)
  } catch {
    // the launcher ended or restarts
  }
  if (isReplaced) return showGone('closedPage') // where a script may not close the window
  showGone('gone')
  setTimeout(() => void listen(), RECONNECT_MS)
}

element('play').addEventListener(
  'click',
  () => void post(page.status?.version === undefined || page.status.unfinished !== undefined ? 'update' : 'launch'),
)
element('pause').addEventListener('click', () => void post(page.status?.paused === true ? 'resume' : 'pause'))
for (const id of ['update', 'repair', 'rollback']) element(id).addEventListener('click', () => void post(id))
element('notes').addEventListener('click', (event) => {
  const address = (event.target as Element).closest('a')?.href
  if (address === undefined) return
  event.preventDefault() // the window has a browser profile of its own; the player's browser shows it
  if (confirm(say('openLink', { address }))) void post('open-link', { address })
})
element('quit').addEventListener('click', () => void post('quit'))
// The download goes on without its window; the player should know.
addEventListener('beforeunload', (event) => {
  if (page.status?.activity === 'update' && page.status.state === 'fetch') event.preventDefault()
})
element('download-now').addEventListener('click', () => void post('update'))
watchSettings()
watchSetup()
watchParts()
listLanguages()
void speak(page.language)
void listen()
