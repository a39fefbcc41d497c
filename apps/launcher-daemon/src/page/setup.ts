import { chosenParts, fillParts } from './parts.ts'
import { bytes, call, element, page, post, say, send } from './shared.ts'
import type { PageStatus } from './shared.ts'
import { errorWord } from './words.ts'

interface FolderLook {
  kind: 'new' | 'empty' | 'install' | 'game' | 'refused'
  freeBytes?: number
  found: number
}

/** The folder is looked at when the player stopped typing. */
const LOOK_AFTER_MS = 400
/** A folder that cannot be installed into is looked at again: the player may make room, or connect a disk. */
const LOOK_AGAIN_MS = 3000
let isTouched = false
let shownOffer = ''
let lookedAt: string | undefined
let look: FolderLook | undefined
let timer: ReturnType<typeof setTimeout> | undefined
let again: ReturnType<typeof setTimeout> | undefined

function folderField(): HTMLInputElement {
  return element<HTMLInputElement>('setup-folder')
}

/** Bytes of the game with the parts that are chosen now. */
function wantedBytes({ offer }: PageStatus): number | undefined {
  if (offer === undefined) return undefined
  const chosen = chosenParts(element('setup-parts'))
  return offer.components.reduce(
    (sum, { name, bytes: size }) => (chosen[name] === true ? sum + size : sum),
    offer.bytes,
  )
}

function showFigures(): void {
  const { status } = page
  if (status === undefined) return
  const wanted = wantedBytes(status)
  const free = look?.freeBytes
  const figures = [
    ...(wanted === undefined ? [] : [say('setupSize', { size: bytes(wanted) })]),
    ...(free === undefined ? [] : [say('setupFree', { size: bytes(free) })]),
  ]
  element('setup-figures').textContent = figures.join(' · ')
  const isFull = look?.kind !== 'game' && wanted !== undefined && free !== undefined && free < wanted
  const said = { game: say('setupGame'), install: say('setupAgain'), new: '', empty: '', refused: say('error.folder') }
  element('setup-look').textContent = isFull ? say('setupFull') : look === undefined ? '' : said[look.kind]
  const isBlocked = isFull || look?.kind === 'refused'
  element('setup-look').className = isBlocked ? 'bad' : ''
  const install = element<HTMLButtonElement>('setup-install')
  install.textContent = say(look?.kind === 'game' ? 'useFolder' : 'install')
  install.disabled = isBlocked
  if (isBlocked) again ??= setTimeout(lookAgain, LOOK_AGAIN_MS)
}

function lookAgain(): void {
  again = undefined
  lookedAt = undefined
  if (page.status?.needsSetup === true) void lookNow()
}

async function lookNow(): Promise<void> {
  const folder = folderField().value.trim()
  // Once more when the list of files is known: only then can the game be recognised.
  const asked = `${folder} ${page.status?.offer?.version ?? ''}`
  if (asked === lookedAt) return
  lookedAt = asked
  const response = await call('/api/look', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ folder }),
  })
  if (folderField().value.trim() !== folder) return // typed on meanwhile
  look = response.ok ? ((await response.json()) as FolderLook) : undefined
  showFigures()
}

/** Shows the first page. */
export function showSetup(now: PageStatus): void {
  if (!isTouched) folderField().value = now.folder
  element<HTMLSelectElement>('setup-language').value = page.language
  const { offer } = now
  const text = JSON.stringify([offer?.components, page.language])
  if (text !== shownOffer) {
    const answers = chosenParts(element('setup-parts'))
    shownOffer = text
    const parts = (offer?.components ?? []).map((part) => ({ ...part, isChosen: answers[part.name] ?? part.isChosen }))
    fillParts(element('setup-parts'), parts, showFigures)
    element('setup-choice').hidden = parts.length === 0
  }
  showFigures()
  void lookNow()
}

/** Nothing is downloaded before this. */
async function install(): Promise<void> {
  const error = element('setup-error')
  error.hidden = true
  const parts = chosenParts(element('setup-parts'))
  const problem = await send('setup', {
    folder: folderField().value.trim(),
    ...(look?.kind === 'game' ? { adopt: true } : {}),
    ...(Object.keys(parts).length === 0 ? {} : { components: parts }),
  })
  if (problem === undefined) return
  error.textContent = `${say(errorWord(problem))} (${problem.title})`
  error.hidden = false
  folderField().focus()
}

/** Listens to the first page. */
export function watchSetup(): void {
  const language = element<HTMLSelectElement>('setup-language')
  language.addEventListener('change', () => void post('settings', { language: language.value }))
  element('setup-install').addEventListener('click', () => void install())
  folderField().addEventListener('input', () => {
    isTouched = true
    look = undefined // nothing is known of this folder yet
    showFigures()
    clearTimeout(timer)
    timer = setTimeout(() => void lookNow(), LOOK_AFTER_MS)
  })
}
