import type { PlayerConfig } from '../player-config.ts'

interface SetupLanguage {
  /** Name of the language file in NSIS. */
  readonly nsis: string
  /** Asked by the uninstaller. */
  readonly removeGame: string
}

/** Languages of the page that NSIS has too. */
const SETUP_LANGUAGES: Readonly<Record<string, SetupLanguage>> = {
  en: { nsis: 'English', removeGame: 'Remove the game as well? Files that you changed or added are kept.' },
  de: {
    nsis: 'German',
    removeGame: 'Auch das Spiel entfernen? Dateien, die du geändert oder hinzugefügt hast, bleiben erhalten.',
  },
  fr: {
    nsis: 'French',
    removeGame: 'Supprimer aussi le jeu ? Les fichiers que vous avez modifiés ou ajoutés sont conservés.',
  },
  es: {
    nsis: 'Spanish',
    removeGame: '¿Quitar también el juego? Se conservan los archivos que hayas modificado o añadido.',
  },
  'pt-BR': {
    nsis: 'PortugueseBR',
    removeGame: 'Remover também o jogo? Os arquivos que você alterou ou adicionou são mantidos.',
  },
  it: {
    nsis: 'Italian',
    removeGame: 'Rimuovere anche il gioco? I file che hai modificato o aggiunto vengono conservati.',
  },
  pl: { nsis: 'Polish', removeGame: 'Usunąć również grę? Zmienione lub dodane przez ciebie pliki zostaną zachowane.' },
  cs: { nsis: 'Czech', removeGame: 'Odebrat i hru? Soubory, které jste změnili nebo přidali, zůstanou.' },
  tr: { nsis: 'Turkish', removeGame: 'Oyun da kaldırılsın mı? Değiştirdiğin veya eklediğin dosyalar korunur.' },
  ru: { nsis: 'Russian', removeGame: 'Удалить и игру? Изменённые и добавленные вами файлы сохранятся.' },
  uk: { nsis: 'Ukrainian', removeGame: 'Видалити й гру? Змінені та додані вами файли залишаться.' },
  ja: { nsis: 'Japanese', removeGame: 'ゲームも削除しますか？変更または追加したファイルは残ります。' },
  ko: { nsis: 'Korean', removeGame: '게임도 제거할까요? 변경하거나 추가한 파일은 남습니다.' },
  'zh-Hans': { nsis: 'SimpChinese', removeGame: '是否同时删除游戏？您修改或添加的文件会保留。' },
}

/** A text as an NSIS string: its quotes and dollars mean nothing. */
export function nsisText(text: string): string {
  const escaped = text.replaceAll('$', () => '$$').replaceAll('"', () => '$\\"')
  return `"${escaped.replaceAll('`', () => '$\\`').replaceAll(/[\r\n\t]/g, ' ')}"`
}

function languagesOf({ languages }: PlayerConfig): readonly SetupLanguage[] {
  const wanted = languages.length === 0 ? Object.keys(SETUP_LANGUAGES) : languages
  const known = wanted.flatMap((language) => SETUP_LANGUAGES[language] ?? [])
  return known.length === 0 ? [SETUP_LANGUAGES['en'] as SetupLanguage] : known
}

function languageLines({ nsis, removeGame }: SetupLanguage): string {
  return (
    `!insertmacro MUI_LANGUAGE ${nsis}\nLangString REMOVE_GAME \${LANG_${nsis.toUpperCase()}} ` +
    `${nsisText(removeGame)}`
  )
}

/** What the uninstaller does, in the language of the setup. A silent removal keeps the game. */
const UNINSTALL = `
Function un.onInit
  ReadRegStr $0 HKCU "\${KEY}" "Language"
  StrCmp $0 "" +2
    StrCpy $LANGUAGE $0
FunctionEnd

Section Uninstall
  ExecWait '"$INSTDIR\\\${FILE}" quit'
  MessageBox MB_YESNO|MB_ICONQUESTION "$(REMOVE_GAME)" /SD IDNO IDNO keep
    ExecWait '"$INSTDIR\\\${FILE}" uninstall'
  keep:
  Delete "$INSTDIR\\\${FILE}"
  Delete "$INSTDIR\\uninstall.exe"
  RMDir /r "$INSTDIR\\.launcher"
  RMDir "$INSTDIR"
  Delete "$SMPROGRAMS\\\${NAME}.lnk"
  DeleteRegKey HKCU "\${KEY}"
SectionEnd
`

/** What the setup does. A running launcher holds its file, so it is asked to end first. */
function installSection(sizeBytes: number): string {
  return `Section
  SetOutPath "$INSTDIR"
  IfFileExists "$INSTDIR\\\${FILE}" 0 +2
    ExecWait '"$INSTDIR\\\${FILE}" quit'
  File "/oname=\${FILE}" player.exe
  WriteUninstaller "$INSTDIR\\uninstall.exe"
  CreateShortCut "$SMPROGRAMS\\\${NAME}.lnk" "$INSTDIR\\\${FILE}"
  WriteRegStr HKCU "\${KEY}" "DisplayName" "\${NAME}"
  WriteRegStr HKCU "\${KEY}" "DisplayVersion" "\${VERSION}"
  WriteRegStr HKCU "\${KEY}" "Publisher" "\${PUBLISHER}"
  WriteRegStr HKCU "\${KEY}" "DisplayIcon" "$INSTDIR\\\${FILE}"
  WriteRegStr HKCU "\${KEY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "\${KEY}" "UninstallString" '"$INSTDIR\\uninstall.exe"'
  WriteRegStr HKCU "\${KEY}" "QuietUninstallString" '"$INSTDIR\\uninstall.exe" /S'
  WriteRegStr HKCU "\${KEY}" "Language" $LANGUAGE
  WriteRegDWORD HKCU "\${KEY}" "EstimatedSize" ${Math.ceil(sizeBytes / 1024)}
  WriteRegDWORD HKCU "\${KEY}" "NoModify" 1
  WriteRegDWORD HKCU "\${KEY}" "NoRepair" 1
SectionEnd
`
}

/**
 * The NSIS script of a setup: per user below `%LOCALAPPDATA%\Programs`, a folder page, a start menu entry, an entry
 * under installed apps, `/S` for silent; the uninstaller asks whether the game goes too.
 *
 * @param fileName - Name of the executable.
 * @param sizeBytes - Size of the executable, for the list of installed apps.
 */
export function setupScript(config: PlayerConfig, fileName: string, sizeBytes: number): string {
  const key = `Software\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\${config.id}`
  return `Unicode true
!include MUI2.nsh
!define NAME ${nsisText(config.name)}
!define ID ${nsisText(config.id)}
!define PUBLISHER ${nsisText(config.publisher)}
!define VERSION ${nsisText(config.version)}
!define FILE ${nsisText(fileName)}
!define KEY ${nsisText(key)}
Name "\${NAME}"
OutFile made.exe
RequestExecutionLevel user
InstallDir "$LOCALAPPDATA\\Programs\\\${ID}"
InstallDirRegKey HKCU "\${KEY}" "InstallLocation"
SetCompressor /SOLID lzma
SetDateSave off
ManifestDPIAware true
VIProductVersion "${config.version}.0"
VIAddVersionKey "ProductName" "\${NAME}"
VIAddVersionKey "CompanyName" "\${PUBLISHER}"
VIAddVersionKey "LegalCopyright" "\${PUBLISHER}"
VIAddVersionKey "FileDescription" "\${NAME}"
VIAddVersionKey "FileVersion" "\${VERSION}"
VIAddVersionKey "ProductVersion" "\${VERSION}"
!define MUI_ICON player.ico
!define MUI_UNICON player.ico
!define MUI_FINISHPAGE_RUN "$INSTDIR\\\${FILE}"
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
${languagesOf(config).map(languageLines).join('\n')}
${installSection(sizeBytes)}${UNINSTALL}`
}
