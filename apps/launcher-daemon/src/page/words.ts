/** Every language of the page, as its speakers call it. */
export const LANGUAGE_NAMES = {
  en: 'English',
  de: 'Deutsch',
  fr: 'Français',
  es: 'Español',
  'pt-BR': 'Português (Brasil)',
  it: 'Italiano',
  pl: 'Polski',
  cs: 'Čeština',
  tr: 'Türkçe',
  ru: 'Русский',
  uk: 'Українська',
  ja: '日本語',
  ko: '한국어',
  'zh-Hans': '简体中文',
} as const

/** A language of the page. */
export type Language = keyof typeof LANGUAGE_NAMES

/** The page in English, the source of all others. */
export const english = {
  skip: 'To the Play button',
  play: 'Play',
  playInstalled: 'Play the installed version',
  install: 'Install',
  finish: 'Finish the update',
  unfinished: 'The update to {version} is half done. Finish it to play.',
  pause: 'Pause',
  resume: 'Resume',
  update: 'Check for updates',
  repair: 'Repair',
  rollback: 'Go back to the previous version',
  settings: 'Settings',
  channel: 'Version channel',
  accessCode: 'I have a code',
  accessHint: 'Some channels need a code from the publisher. It is kept for this game only.',
  limit: 'Download limit (MB/s)',
  limitHint: 'Leave it empty for no limit. It applies right away.',
  language: 'Language',
  save: 'Save',
  saved: 'Saved',
  backgroundLimit: 'Limit while you play (MB/s)',
  askAbove: 'Ask before downloads over (MB)',
  pausePlaying: 'No downloads while you play',
  reports: 'Send counts of updates, without any id',
  nightOnly: 'Download updates only from – to',
  report: 'Save a report for support',
  reportHint: 'The file holds no passwords. Read it before you send it.',
  parts: 'Parts of the game',
  partsHint: 'What you leave out is removed. You can add it again at any time.',
  applyParts: 'Apply',
  waitSize: 'Version {version} can be downloaded: {size}.',
  waitMetered: 'Version {version} can be downloaded: {size}. Your connection may cost money.',
  waitNight: 'Version {version} is downloaded between {from} and {to}.',
  waitGame: 'The download continues when you close the game.',
  waitingState: 'The update is installed when you close the game',
  downloadNow: 'Download now',
  news: 'What’s new',
  newsOf: 'New in version {version}',
  noNews: 'There are no notes for this version.',
  openLink: 'Open {address} in your browser?',
  quit: 'Quit',
  newsLater: 'News appears here once the game is installed.',
  details: 'Details',
  trustTitle: 'Origin',
  keyTitle: 'Game key',
  folderTitle: 'Folder',
  keyFine: 'checked before each start, given to the game only',
  keyNone: 'nothing is installed yet',
  keyless: 'not needed by this version',
  nothing: 'Not installed yet',
  release: 'Version {version} ({channel})',
  ready: 'Ready to play',
  running: 'The game is running',
  nextReady: 'Version {version} is ready and opens {time}.',
  nextComing: 'Version {version} is being downloaded ahead. It opens {time}.',
  nextFull: 'Version {version} opens {time}. The disk has no room to download it ahead.',
  offline: 'Could not check for updates. You can play the installed version.',
  offlineFirst: 'The server cannot be reached. Check your connection; the launcher keeps trying.',
  barredState: 'This version cannot be played',
  barredHelp: 'Check for updates while you are online.',
  pausedState: 'Paused',
  paused: 'Paused. The download continues where it stopped.',
  setupTitle: 'Where should the game go?',
  setupHint: 'An empty or new folder. Nothing is downloaded before you choose Install.',
  setupSize: '{size} to install',
  setupFree: '{size} free',
  setupFull: 'There is not enough space in this place.',
  setupGame: 'The game is already in this folder. Only what differs is downloaded, and your own files stay.',
  setupAgain: 'This folder holds the game. It is checked and updated.',
  useFolder: 'Use this folder',
  closedPage: 'This window is no longer connected. Open it again from the launcher.',
  gone: 'The launcher was closed. Start it again to continue.',
  doneUpdated: 'The game is up to date.',
  doneFine: 'All files are fine.',
  doneRepaired: 'The game was repaired.',
  doneParts: 'Your game is as you chose.',
  preparing: 'Getting ready',
  checking: 'Checking for updates',
  comparing: 'Comparing files',
  downloading: 'Downloading',
  verifying: 'Checking the download',
  applying: 'Installing',
  finishing: 'Finishing',
  starting: 'Starting the game',
  'trust.pinned': 'Nothing has been checked yet.',
  'trust.current': 'Genuine and up to date.',
  refusedOffer: 'What the server offered last was refused ({code}). The installed version stays as it is.',
  'trust.older': 'Genuine. The newest known version is {version}.',
  'trust.stale': 'Genuine. The server has not confirmed lately that it is the newest.',
  'trust.barred': 'The publisher has withdrawn this version.',
  'trust.forked': 'Genuine. The publisher’s information is contradictory, so nothing new is installed for now.',
  'published.confirmed': 'Published for everyone, confirmed by {signed} of {of} witnesses.',
  'published.where': 'Entry {index} in the public log {log}.',
  'published.waiting': 'Not confirmed by witnesses yet.',
  figures: '{done} of {total}',
  rate: '{rate}/s',
  left: '{time} left',
  seconds: '{n} s',
  minutes: '{n} min',
  hours: '{n} h',
  'error.refused': 'The offered version is not genuine and was refused. Your game is unchanged.',
  'error.policy': 'The offered version was refused. Your game is unchanged.',
  'error.access': 'This version needs a code from the publisher. Enter it in the settings, or choose another version.',
  'error.disk': 'There is not enough space on the disk. Your game is unchanged.',
  'error.busy': 'Another program is using the game’s files. Close it and try again.',
  'error.key': 'The game could not be unlocked on this computer.',
  'error.files': 'Some game files are missing, changed or cannot be written. Repair fixes them.',
  'error.folder': 'The game cannot go into this folder. Choose an empty or new one.',
  'error.gone': 'The folder of the game is gone: it was moved, or its disk is not connected.',
  'error.server': 'The server sent damaged files. Your game is unchanged.',
  'error.tooOld': 'This version needs a newer launcher. Your game is unchanged.',
  'error.start': 'The game could not be started on this computer.',
  'error.settings': 'These settings cannot be used. Check them and save again.',
  'error.clock': 'The clock of this computer is wrong. Set its date and time, then try again.',
  'error.half': 'The last update is not finished. Finish it to play.',
  'error.other': 'That did not work. Your game is unchanged.',
} as const

/** Names of the page's words. */
export type Word = keyof typeof english

/** The page in one language. */
export type Words = Readonly<Record<Word, string>>

/** A text with its placeholders filled in. */
export function word(words: Words, name: Word, places: Readonly<Record<string, string>> = {}): string {
  return words[name].replaceAll(/\{(\w+)\}/g, (whole, place: string) => places[place] ?? whole)
}

/** Whether a text names a word. */
export function isWord(name: string): name is Word {
  return Object.hasOwn(english, name)
}

/** Whether a text names a language of the page. */
export function isLanguage(name: string): name is Language {
  return Object.hasOwn(LANGUAGE_NAMES, name)
}

/** Languages whose speakers read another one of the page, by the subtag that browsers send. */
const CLOSE_LANGUAGES: Readonly<Record<string, Language>> = { sk: 'cs', pt: 'pt-BR', zh: 'zh-Hans', be: 'ru' }

/**
 * The language to begin with.
 *
 * @param wanted - What the browser says, the preferred one first: `de-AT`, `pt`.
 * @param offered - What the studio offers; empty means all.
 */
export function chooseLanguage(wanted: readonly string[], offered: readonly Language[]): Language {
  const usable = (language: string): language is Language =>
    isLanguage(language) && (offered.length === 0 || offered.includes(language))
  for (const tag of wanted) {
    const [base = ''] = tag.split('-')
    const found = [tag, base, CLOSE_LANGUAGES[base] ?? ''].find(usable)
    if (found !== undefined) return found as Language
  }
  return offered[0] ?? 'en'
}

/** What the launcher is doing, by the state of the engine. */
const STATES: Readonly<Record<string, Word>> = {
  lock: 'preparing',
  recover: 'preparing',
  trust: 'checking',
  plan: 'comparing',
  preflight: 'comparing',
  fetch: 'downloading',
  stage: 'verifying',
  wait: 'waitingState',
  commit: 'applying',
  swap: 'applying',
  prune: 'finishing',
  finalize: 'finishing',
  'key-load': 'starting',
  launch: 'starting',
  confirm: 'running',
}

/** What the launcher is doing. */
export function stateWord(state: string): Word {
  return Object.hasOwn(STATES, state) ? (STATES[state] as Word) : 'preparing'
}

const byCode: Readonly<Record<string, Word>> = {
  LA_BARRED: 'error.refused',
  LA_FOLDER: 'error.folder',
  LA_FOLDER_GONE: 'error.gone',
  LA_DISK_FULL: 'error.disk',
  LA_ACCESS: 'error.access',
  MAN_LAUNCHER_TOO_OLD: 'error.tooOld',
  MAN_CLOCK: 'error.clock',
  TRUST_CLOCK: 'error.clock',
  LA_UNFINISHED: 'error.half',
  LA_HASH: 'error.files',
  LA_STAGE_TAMPERED: 'error.files',
  LA_SYMLINK: 'error.files',
  LA_PERMISSION: 'error.files',
  LA_IO: 'error.files',
  LA_JOURNAL: 'error.files',
  LA_SIZE: 'error.server',
  LA_ENCODING: 'error.server',
  LA_RANGE: 'error.server',
  LA_REDIRECT: 'error.server',
  LA_PROGRAM: 'error.start',
  LA_CHILD: 'error.start',
  LA_SETTINGS: 'error.settings',
  LA_REQUIRES: 'error.start',
  RK_SPAWN: 'error.start',
}

/** What a player reads about an error; its code follows it. */
export function errorWord({ code, kind }: { readonly code: string; readonly kind: string }): Word {
  const known = Object.hasOwn(byCode, code) ? byCode[code] : undefined
  if (known !== undefined) return known
  if (/^(?:RK|NK)_/.test(code)) return 'error.key'
  if (/^(?:MAN|TRUST|KEL)_/.test(code)) return kind === 'auth' ? 'error.refused' : 'error.policy'
  return kind === 'busy' ? 'error.busy' : 'error.other'
}
