import { exitCodes } from '@keyturn/primitives'
import type { PlayerConfig } from '../player-config.ts'

interface SetupLanguage {
  /** Name of the language file in NSIS. */
  readonly nsis: string
  /** Asked by the uninstaller. */
  readonly removeGame: string
  /** Said by an uninstaller that removes nothing. */
  readonly gameBusy: string
}

/** Languages of the page that NSIS has too. */
const SETUP_LANGUAGES: Readonly<Record<string, SetupLanguage>> = {
  en: {
    nsis: 'English',
    removeGame: 'Remove the game as well? Files that you changed or added are kept.',
    gameBusy: 'The game runs or is being updated. Nothing was removed: close the game and try again.',
  },
  de: {
    nsis: 'German',
    removeGame: 'Auch das Spiel entfernen? Dateien, die du geändert oder hinzugefügt hast, bleiben erhalten.',
    gameBusy:
      'Das Spiel läuft oder wird gerade aktualisiert. Nichts wurde entfernt: Schließe es und versuche es noch einmal.',
  },
  fr: {
    nsis: 'French',
    removeGame: 'Supprimer aussi le jeu ? Les fichiers que vous avez modifiés ou ajoutés sont conservés.',
    gameBusy: 'Le jeu est en cours d’exécution ou de mise à jour. Rien n’a été supprimé : fermez le jeu et réessayez.',
  },
  es: {
    nsis: 'Spanish',
    removeGame: '¿Quitar también el juego? Se conservan los archivos que hayas modificado o añadido.',
    gameBusy:
      'El juego se está ejecutando o actualizando. No se ha quitado nada: cierra el juego e inténtalo de nuevo.',
  },
  'pt-BR': {
    nsis: 'PortugueseBR',
    removeGame: 'Remover também o jogo? Os arquivos que você alterou ou adicionou são mantidos.',
    gameBusy: 'O jogo está em execução ou sendo atualizado. Nada foi removido: feche o jogo e tente de novo.',
  },
  it: {
    nsis: 'Italian',
    removeGame: 'Rimuovere anche il gioco? I file che hai modificato o aggiunto vengono conservati.',
    gameBusy: 'Il gioco è in esecuzione o in aggiornamento. Nulla è stato rimosso: chiudi il gioco e riprova.',
  },
  pl: {
    nsis: 'Polish',
    removeGame: 'Usunąć również grę? Zmienione lub dodane przez ciebie pliki zostaną zachowane.',
    gameBusy: 'Gra jest uruchomiona lub właśnie się aktualizuje. Niczego nie usunięto: zamknij grę i spróbuj ponownie.',
  },
  cs: {
    nsis: 'Czech',
    removeGame: 'Odebrat i hru? Soubory, které jste změnili nebo přidali, zůstanou.',
    gameBusy: 'Hra běží, nebo se právě aktualizuje. Nic nebylo odebráno: zavřete hru a zkuste to znovu.',
  },
  tr: {
    nsis: 'Turkish',
    removeGame: 'Oyun da kaldırılsın mı? Değiştirdiğin veya eklediğin dosyalar korunur.',
    gameBusy: 'Oyun çalışıyor ya da güncelleniyor. Hiçbir şey kaldırılmadı: oyunu kapatıp yeniden dene.',
  },
  ru: {
    nsis: 'Russian',
    removeGame: 'Удалить и игру? Изменённые и добавленные вами файлы сохранятся.',
    gameBusy: 'Игра запущена или обновляется. Ничего не удалено: закройте игру и попробуйте ещё раз.',
  },
  uk: {
    nsis: 'Ukrainian',
    removeGame: 'Видалити й гру? Змінені та додані вами файли залишаться.',
    gameBusy: 'Гра запущена або оновлюється. Нічого не видалено: закрийте гру й спробуйте ще раз.',
  },
  ja: {
    nsis: 'Japanese',
    removeGame: 'ゲームも削除しますか？変更または追加したファイルは残ります。',
    gameBusy: 'ゲームが実行中か、更新中です。何も削除していません。ゲームを閉じて、もう一度お試しください。',
  },
  ko: {
    nsis: 'Korean',
    removeGame: '게임도 제거할까요? 변경하거나 추가한 파일은 남습니다.',
    gameBusy: '게임이 실행 중이거나 업데이트 중입니다. 아무것도 제거하지 않았습니다. 게임을 닫고 다시 시도하세요.',
  },
  'zh-Hans': {
    nsis: 'SimpChinese',
    removeGame: '是否同时删除游戏？您修改或添加的文件会保留。',
    gameBusy: '游戏正在运行或更新。没有删除任何内容：请关闭游戏后重试。',
  },
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

function languageLines({ nsis, removeGame, gameBusy }: SetupLanguage): string {
  const name = `\${LANG_${nsis.toUpperCase()}}`
  return [
    `!insertmacro MUI_LANGUAGE ${nsis}`,
    `LangString REMOVE_GAME ${name} ${nsisText(removeGame)}`,
    `LangString GAME_BUSY ${name} ${nsisText(gameBusy)}`,
  ].join('\n')
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
    ExecWait '"$INSTDIR\\\${FILE}" uninstall' $0
    StrCmp $0 ${exitCodes.busy} 0 keep
    MessageBox MB_OK|MB_ICONEXCLAMATION "$(GAME_BUSY)" /SD IDOK
    Abort
  keep:
  Delete "$INSTDIR\\\${FILE}"
  Delete "$INSTDIR\\uninstall.exe"
  RMDir /r "$INSTDIR\\.launcher"
  RMDir "$INSTDIR\\game"
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
