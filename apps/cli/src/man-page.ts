import { flattenCommands } from './command-tree.ts'
import type { CommandDescription, FlagDescription } from './command-tree.ts'
import { exitCodes } from '@keyturn/primitives'

/** What each exit code means, as the manual says it. */
const exitMeanings: readonly (readonly [string, string])[] = [
  ['0', 'done'],
  [String(exitCodes.no), 'the answer is no: something differs, is due, or was not confirmed'],
  [String(exitCodes.usage), 'usage: flags, a missing path, no terminal for a question'],
  [String(exitCodes.io), 'disk or network'],
  [String(exitCodes.input), 'refused: malformed, wrong signature, wrong key, rollback, revoked'],
  [String(exitCodes.interrupted), 'interrupted'],
  [String(exitCodes.busy), 'busy: another process has the lock, or was faster'],
  [String(exitCodes.bug), 'a fault of ours, with a report id'],
]

/**
 * Writes the manual page of the program, every command in it (man(7) macros).
 *
 * @param root - The whole command line.
 * @param version - Of this package.
 */
export function manPage(root: CommandDescription, version: string): string {
  const commands = flattenCommands(root).filter(({ path, commands: below }) => path !== '' && below.length === 0)
  return [
    `.TH ${roff(root.program.toUpperCase())} 1 "" "keyturn ${roff(version)}" "Keyturn"`,
    '.SH NAME',
    `${root.program} \\- ${roff(root.summary)}`,
    '.SH SYNOPSIS',
    `.B ${root.program}`,
    '.RI [ options ]',
    '.I command',
    '.RI [ arguments ]',
    '.SH DESCRIPTION',
    ...(root.program === 'keyturn'
      ? ['Makes keys, packs archives, signs and publishes releases, rotates every key, installs and starts clients.']
      : []),
    'Options may be given before and after the command.',
    '.SH OPTIONS',
    ...root.flags.flatMap(flagLines),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    '.SH EXIT STATUS',
    ...exitMeanings.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, roff(meaning)]),
    '.SH ENVIRONMENT',
    ...environment.flatMap(([name, meaning]) => ['.TP', `.B ${name}`, roff(meaning)]),
    '',
  ].join('\n')
}

const environment: readonly (readonly [string, string])[] = [
  ['KEYTURN_HOME', 'as --home'],
  ['KEYTURN_CONFIG', 'as --config'],
  ['KEYTURN_PASSPHRASE_FILE', 'as --passphrase-file'],
  ['KEYTURN_TOKEN_FILE, KEYTURN_TOKEN', "the release server's token, in a file or as it is"],
  ['KEYTURN_INSTALL_DIR', 'the install of update, launch and repair, as --dir'],
  ['NO_COLOR', 'use no colour'],
]

function commandLines(command: CommandDescription): string[] {
  const args = command.args.map(({ name, required, variadic }) => {
    const shown = `${name}${variadic ? '...' : ''}`
    return required ? ` <${shown}>` : ` [${shown}]`
  })
  return [
    `.SS ${command.program} ${roff(command.path + args.join(''))}`,
    roff(sentence(command.summary)),
    ...command.flags.flatMap(flagLines),
    ...command.examples.flatMap((example) => ['.PP', '.RS', '.nf', roff(example), '.fi', '.RE']),
  ]
}

function flagLines({ long, short, value, description, choices }: FlagDescription): string[] {
  const names = [short, long].filter((name) => name !== undefined && name !== '').join(', ')
  const also = choices.length === 0 ? '' : ` (${choices.join(', ')})`
  return ['.TP', `.B ${roff(`${names}${value === '' ? '' : ` ${value}`}`)}`, roff(sentence(description + also))]
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

/**
 * Characters that roff would read: backslashes, hyphens that are minus signs, dots and quotes at the start of a line,
 * what is not ASCII.
 */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('\n', ' ')
    .replace(/^([.'])/, '\\&$1')
    .replaceAll(
      /[^\p{ASCII}]/gu,
      (character) => `\\[u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
    )
}
