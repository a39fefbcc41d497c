import { flattenCommands } from './command-tree.ts'
import type { CommandDescription } from './command-tree.ts'

/** The shells that completions are written for. */
export const shells = ['bash', 'zsh', 'fish', 'powershell'] as const

/** One of {@link shells}. */
export type Shell = (typeof shells)[number]

/**
 * Writes a completion script that knows every command and flag; no program runs when Tab is pressed.
 *
 * @param root - The whole command line.
 * @param shell - Which language.
 */
export function completionScript(root: CommandDescription, shell: Shell): string {
  const writers: Record<Shell, (root: CommandDescription) => string> = { bash, zsh, fish, powershell }
  return writers[shell](root)
}

/** What may follow a path: the names of its commands, then flags, its own and the global ones. */
function wordsAfter(root: CommandDescription, command: CommandDescription): string[] {
  const names = command.commands.map(({ path }) => lastWord(path))
  const flags = [...command.flags, ...(command === root ? [] : root.flags)].map(({ long }) => long)
  return [...names, ...new Set([...flags, '--help'])]
}

function lastWord(path: string): string {
  return path.slice(path.lastIndexOf(' ') + 1)
}

function bash(root: CommandDescription): string {
  const cases = flattenCommands(root).map(
    (command) => `    ${quote(command.path)}) words=${quote(wordsAfter(root, command).join(' '))} ;;`,
  )
  return `# bash completion for keyturn
_keyturn() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" next word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) continue ;; esac
    next="\${path:+$path }$word"
    case "$next" in ${commandPaths(root).map(quote).join('|')}) path="$next" ;; esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _keyturn keyturn
`
}

function zsh(root: CommandDescription): string {
  const cases = flattenCommands(root).map((command) => {
    const entries = wordsAfter(root, command).map((word) =>
      quote(`${word.replaceAll(':', '\\:')}:${describeWord(root, command, word)}`),
    )
    return `    ${quote(command.path)}) words_here=(${entries.join(' ')}) ;;`
  })
  return `#compdef keyturn
_keyturn() {
  local path_here="" next word
  local -a words_here
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$word" in -*) continue ;; esac
    next="\${path_here:+$path_here }$word"
    case "$next" in ${commandPaths(root).map(quote).join('|')}) path_here="$next" ;; esac
  done
  case "$path_here" in
${cases.join('\n')}
  esac
  _describe 'keyturn' words_here || _files
}
if [ "\${funcstack[1]}" = "_keyturn" ]; then _keyturn "$@"; else compdef _keyturn keyturn; fi
`
}

function fish(root: CommandDescription): string {
  const lines = flattenCommands(root).flatMap((command) => {
    const condition = quote(`__keyturn_at ${quote(command.path).replaceAll("'", '"')}`)
    const names = command.commands.map(
      ({ path, summary }) => `complete -c keyturn -n ${condition} -f -a ${lastWord(path)} -d ${quote(summary)}`,
    )
    const flags = command.flags.map(
      (flag) =>
        `complete -c keyturn -n ${condition} -l ${flag.long.slice(2)}${flag.value === '' ? '' : ' -r'} -d ` +
        `${quote(flag.description)}`,
    )
    return [...names, ...flags]
  })
  const global = root.flags.map(
    (flag) =>
      `complete -c keyturn -l ${flag.long.slice(2)}${flag.value === '' ? '' : ' -r'} -d ${quote(flag.description)}`,
  )
  return `# fish completion for keyturn
function __keyturn_at
    set -l path
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and continue
        set -l next (string join ' ' $path $word)
        contains -- "$next" ${commandPaths(root).map(quote).join(' ')}; and set path $path $word
    end
    test "$argv[1]" = (string join ' ' $path | string collect --allow-empty)
end
${[...global, ...lines].join('\n')}
`
}

function powershell(root: CommandDescription): string {
  const entries = flattenCommands(root).map(
    (command) => `    ${single(command.path)} = @(${wordsAfter(root, command).map(single).join(', ')})`,
  )
  return `# PowerShell completion for keyturn
Register-ArgumentCompleter -Native -CommandName keyturn -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $words = @{
${entries.join('\n')}
  }
  $path = ''
  foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
    $word = $element.ToString()
    if ($word.StartsWith('-')) { continue }
    $next = if ($path) { "$path $word" } else { $word }
    if ($words.ContainsKey($next)) { $path = $next }
  }
  $words[$path] | Where-Object { $_ -like "$wordToComplete*" } |
    ForEach-Object { [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
}
`
}

function commandPaths(root: CommandDescription): string[] {
  return flattenCommands(root)
    .map(({ path }) => path)
    .filter((path) => path !== '')
}

function describeWord(root: CommandDescription, command: CommandDescription, word: string): string {
  const child = command.commands.find(({ path }) => lastWord(path) === word)
  const flag = [...command.flags, ...root.flags].find(({ long }) => long === word)
  return (child?.summary ?? flag?.description ?? '').replaceAll(':', ' ')
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function single(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
