/** A language of the page. */
export type Language = 'en' | 'cs'

const en = {
  skip: 'To the Play button',
  play: 'Play', playInstalled: 'Play the installed release', install: 'Install', finish: 'Finish the update', unfinished: 'Half way to {version}: finish the update to play', pause: 'Pause', resume: 'Resume', update: 'Look for updates', repair: 'Repair',
  rollback: 'Go back to the previous release', settings: 'Settings', channel: 'Channel', limit: 'Download limit (kB/s)', limitHint: 'Empty: no limit. It counts at once, also for a running download.',
  language: 'Language', save: 'Save', saved: 'Saved', news: 'What is new', noNews: 'The release has no notes.', newsLater: 'The notes of the release stand here once it is installed.', trustTitle: 'Trust', keyTitle: 'Game key', folderTitle: 'Folder',
  keyFine: 'checked against the signed list before each start, handed to the game only', keyNone: 'nothing installed yet', keyless: 'this release needs none',
  nothing: 'Nothing is installed yet', release: 'Release {version} on channel {channel}', ready: 'Ready to play', running: 'The game is running', offline: 'Offline: the server cannot be reached. You can play what is installed.',
  barredState: 'Not to be played', barredHelp: 'Look for updates while you are online: what is vouched for again plays at once.',
  pausedState: 'Paused', paused: 'Paused. The download goes on where it stopped.',
  'state.idle': 'Ready', 'state.lock': 'Starting', 'state.recover': 'Looking after the last run', 'state.trust': 'Checking who signed the release', 'state.plan': 'Comparing files',
  'state.preflight': 'Checking free space', 'state.fetch': 'Downloading', 'state.stage': 'Verifying the download', 'state.commit': 'Putting files in place', 'state.swap': 'Putting files in place',
  'state.prune': 'Tidying up', 'state.finalize': 'Finishing', 'state.key-load': 'Checking the game key', 'state.launch': 'Starting the game', 'state.confirm': 'The game is running',
  'trust.pinned': 'Nothing was verified yet.', 'trust.current': 'Verified: it comes from its publisher and is the newest known.', 'trust.older': 'Verified: it comes from its publisher. The newest known release is {version}.', 'trust.stale': 'Verified, but the server could not confirm lately that it is the newest.',
  'trust.barred': 'Must not be played: the keys that vouched for it were withdrawn.', 'trust.forked': 'Verified. The publisher’s documents contradict each other, so nothing new is installed for now.',
  figures: '{done} of {total}', rate: '{rate}/s', left: '{time} left', seconds: '{n} s', minutes: '{n} min', hours: '{n} h',
  'error.refused': 'The offered release was refused: its signature is not right. Your installed release is unchanged.',
  'error.policy': 'The server’s offer was refused. Your installed release is unchanged.',
  'error.disk': 'There is not enough room on the disk. Your installed release is unchanged.',
  'error.busy': 'Something else is using the game’s files. Close it and try again.',
  'error.key': 'The game cannot get its key: the server gives none to this computer, or not the one that the publisher lists.',
  'error.files': 'Files of the game are missing, changed or cannot be written. Repair fetches what is wrong.',
  'error.server': 'The server sent something else than the release says. Your installed release is unchanged.',
  'error.tooOld': 'The release needs a newer launcher. Your installed release is unchanged.',
  'error.start': 'The game could not be started on this computer.',
  'error.half': 'The last update is not through yet. Finish it to play.',
  'error.other': 'That did not work. Your installed release is unchanged.',
} as const

/** Names of the page's words. */
export type Word = keyof typeof en

const cs: Readonly<Record<Word, string>> = {
  skip: 'Na tlačítko Hrát',
  play: 'Hrát', playInstalled: 'Hrát nainstalovanou verzi', install: 'Nainstalovat', finish: 'Dokončit aktualizaci', unfinished: 'Na půl cesty k {version}: pro hraní dokončete aktualizaci', pause: 'Pozastavit', resume: 'Pokračovat', update: 'Hledat aktualizace', repair: 'Opravit',
  rollback: 'Vrátit předchozí verzi', settings: 'Nastavení', channel: 'Kanál', limit: 'Omezení stahování (kB/s)', limitHint: 'Prázdné: bez omezení. Platí hned, i pro běžící stahování.',
  language: 'Jazyk', save: 'Uložit', saved: 'Uloženo', news: 'Co je nového', noNews: 'K této verzi nejsou poznámky.', newsLater: 'Po instalaci zde budou poznámky k verzi.', trustTitle: 'Důvěra', keyTitle: 'Herní klíč', folderTitle: 'Složka',
  keyFine: 'před každým startem porovnán s podepsaným seznamem, dostane ho jen hra', keyNone: 'zatím není nic nainstalováno', keyless: 'tato verze žádný nepotřebuje',
  nothing: 'Zatím není nic nainstalováno', release: 'Verze {version} z kanálu {channel}', ready: 'Připraveno ke hře', running: 'Hra běží', offline: 'Offline: server není dostupný. Hrát lze to, co je nainstalováno.',
  barredState: 'Nelze hrát', barredHelp: 'Vyhledejte aktualizace, až budete online: co má znovu platný podpis, lze hrát hned.',
  pausedState: 'Pozastaveno', paused: 'Pozastaveno. Stahování naváže tam, kde skončilo.',
  'state.idle': 'Připraveno', 'state.lock': 'Spouštím', 'state.recover': 'Kontroluji minulý běh', 'state.trust': 'Ověřuji, kdo verzi podepsal', 'state.plan': 'Porovnávám soubory',
  'state.preflight': 'Kontroluji volné místo', 'state.fetch': 'Stahuji', 'state.stage': 'Ověřuji stažené soubory', 'state.commit': 'Ukládám soubory', 'state.swap': 'Ukládám soubory',
  'state.prune': 'Uklízím', 'state.finalize': 'Dokončuji', 'state.key-load': 'Kontroluji herní klíč', 'state.launch': 'Spouštím hru', 'state.confirm': 'Hra běží',
  'trust.pinned': 'Zatím nebylo nic ověřeno.', 'trust.current': 'Ověřeno: pochází od vydavatele a je nejnovější známá.', 'trust.older': 'Ověřeno: pochází od vydavatele. Nejnovější známá verze je {version}.', 'trust.stale': 'Ověřeno, ale server už nějakou dobu nepotvrdil, že je nejnovější.',
  'trust.barred': 'Nesmí se hrát: klíče, které za ni ručily, byly odvolány.', 'trust.forked': 'Ověřeno. Dokumenty vydavatele si odporují, proto se zatím nic nového neinstaluje.',
  figures: '{done} z {total}', rate: '{rate}/s', left: 'zbývá {time}', seconds: '{n} s', minutes: '{n} min', hours: '{n} h',
  'error.refused': 'Nabízená verze byla odmítnuta: její podpis nesouhlasí. Nainstalovaná verze je beze změny.',
  'error.policy': 'Nabídka serveru byla odmítnuta. Nainstalovaná verze je beze změny.',
  'error.disk': 'Na disku není dost místa. Nainstalovaná verze je beze změny.',
  'error.busy': 'Soubory hry používá jiný program. Zavřete ho a zkuste to znovu.',
  'error.key': 'Hra nedostala svůj klíč: server ho tomuto počítači nevydá, nebo to není klíč, který uvádí vydavatel.',
  'error.files': 'Soubory hry chybí, jsou změněné nebo je nelze zapsat. Oprava stáhne, co není v pořádku.',
  'error.server': 'Server poslal něco jiného, než verze uvádí. Nainstalovaná verze je beze změny.',
  'error.tooOld': 'Verze potřebuje novější launcher. Nainstalovaná verze je beze změny.',
  'error.start': 'Hru se na tomto počítači nepodařilo spustit.',
  'error.half': 'Poslední aktualizace ještě není celá. Pro hraní ji dokončete.',
  'error.other': 'To se nepodařilo. Nainstalovaná verze je beze změny.',
}

const languages: Readonly<Record<Language, Readonly<Record<Word, string>>>> = { en, cs }

/** A word in a language, with its places filled. */
export function word(language: Language, name: Word, places: Readonly<Record<string, string>> = {}): string {
  return languages[language][name].replaceAll(/\{(\w+)\}/g, (whole, place: string) => places[place] ?? whole)
}

/** Whether a text names a word. */
export function isWord(name: string): name is Word {
  return Object.hasOwn(en, name)
}

const byCode: Readonly<Record<string, Word>> = {
  LA_BARRED: 'error.refused', LA_DISK_FULL: 'error.disk', LA_TOO_OLD: 'error.tooOld', LA_UNFINISHED: 'error.half',
  LA_HASH: 'error.files', LA_STAGE_TAMPERED: 'error.files', LA_SYMLINK: 'error.files', LA_PERMISSION: 'error.files', LA_IO: 'error.files', LA_JOURNAL: 'error.files',
  LA_SIZE: 'error.server', LA_ENCODING: 'error.server', LA_RANGE: 'error.server', LA_REDIRECT: 'error.server',
  LA_PROGRAM: 'error.start', LA_CHILD: 'error.start', LA_SETTINGS: 'error.start', LA_REQUIRES: 'error.start', RK_SPAWN: 'error.start',
}

/** What a player is told of an error; its code stands behind it. */
export function errorWord({ code, kind }: { readonly code: string; readonly kind: string }): Word {
  const known = Object.hasOwn(byCode, code) ? byCode[code] : undefined
  if (known !== undefined) return known
  if (/^(?:RK|NK)_/.test(code)) return 'error.key'
  if (/^(?:MAN|TRUST|KEL)_/.test(code)) return kind === 'auth' ? 'error.refused' : 'error.policy'
  return kind === 'busy' ? 'error.busy' : 'error.other'
}
