import { durationParts, sizeText } from './units.ts'
import { english, errorWord, word } from './words.ts'
import type { Language, Word, Words } from './words.ts'

/** How far the present work is. */
export interface PageProgress {
  phase: string
  downloadedBytes: number
  downloadTotalBytes: number
  diskBytes: number
  diskTotalBytes: number
  bytesPerSecond: number
  secondsLeft?: number
}
/** Why something did not work. */
export interface PageError {
  code: string
  message: string
  hint?: string
  kind: string
}
/** A part of the game that may be left out. */
export interface PagePart {
  name: string
  title: string
  bytes: number
  isChosen: boolean
}
/** What the launcher says of itself. */
export interface PageStatus {
  folder: string
  channel: string
  state: string
  version?: string
  trust: 'pinned' | 'current' | 'stale' | 'barred' | 'forked'
  published?: { signed: number; of: number; origin: string; index: number } | { until: string }
  reason?: { code: string; message: string }
  refused?: { code: string }
  notes?: string
  components: readonly PagePart[]
  needsKey: boolean
  offered?: string
  offeredNotes?: string
  offer?: { version: string; notes?: string; bytes: number; components: readonly PagePart[] }
  waiting?: { reason: 'game' | 'night' | 'size' | 'metered'; version: string; bytes: number }
  unfinished?: string
  next?: { version: string; at: string; state: 'coming' | 'ready' | 'full' }
  canRollBack: boolean
  paused: boolean
  activity?: string
  isRunning: boolean
  needsSetup: boolean
  offline: boolean
  lastError?: PageError
  lastResult?: { activity: string; outcome: string }
  settings: {
    channel: string
    limit?: number
    language?: Language
    backgroundLimit?: number
    pauseWhilePlaying?: boolean
    reports?: boolean
    downloadHours?: string
    askAbove?: number
  }
  progress: PageProgress
}

/** What the parts of the page share. */
export const page: { status: PageStatus | undefined; language: Language; words: Words } = {
  status: undefined,
  language: 'en',
  words: english,
}

/** An element of the page. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

/** A word in the page's language. */
export function say(name: Word, places: Record<string, string> = {}): string {
  return word(page.words, name, places)
}

/** A size in the page's language. */
export function bytes(count: number): string {
  return sizeText(count, page.language)
}

/** A time that is left. */
export function time(seconds: number): string {
  return durationParts(seconds)
    .map(([unit, n]) => say(unit, { n: String(n) }))
    .join(' ')
}

/** Long paths lose their middle. */
export function shortened(path: string): string {
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

/** Asks the launcher. */
export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  return await fetch(path, { ...init, headers: { ...init.headers, authorization: `Bearer ${session}` } })
}

/** Why a change was refused. */
export interface Problem {
  readonly code: string
  readonly title: string
  readonly kind: string
}

/** Asks for a change; the answer says why it was refused. */
export async function send(name: string, body: object): Promise<Problem | undefined> {
  const response = await call(`/api/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return response.ok ? undefined : ((await response.json()) as Problem)
}

/** As {@link send}; a refusal is shown in the banner. */
export async function post(name: string, body: object = {}): Promise<boolean> {
  const problem = await send(name, body)
  if (problem !== undefined) showBanner('care', `${say(errorWord(problem))} (${problem.title})`)
  return problem === undefined
}

/** Shows one line above everything, or takes it away. */
export function showBanner(
  kind: 'bad' | 'care' | undefined,
  text: string,
  button?: { text: string; run: () => void },
): void {
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
