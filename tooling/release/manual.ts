import { run } from './run.ts'

/** One command of the server, and what its `--help` prints. */
interface Help {
  /** Words after the name of the program; empty for the program itself. */
  readonly command: string
  readonly text: string
}

const escaped = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1')

/**
 * The manual page of the server, in section 8: the help of each of its commands as it stands.
 *
 * @param version - Of the package.
 */
export function serverManual(version: string, helps: readonly Help[]): string {
  return [
    `.TH KEYTURN\\-SERVER 8 "" "keyturn\\-server ${escaped(version)}" "Keyturn"`,
    '.SH NAME',
    'keyturn\\-server \\- release server to which you publish, and from which launchers update',
    '.SH SYNOPSIS',
    '.B keyturn\\-server',
    '.RI [ options ]',
    '.I command',
    '.SH DESCRIPTION',
    'Serves signed releases as static files, and publishes nothing that a launcher would refuse.',
    'The service of the same name runs it; the other commands are for its operator.',
    '.SH COMMANDS',
    ...helps.flatMap(({ command, text }) => [
      `.SS ${escaped(`keyturn-server ${command}`.trim())}`,
      '.nf',
      escaped(text.trimEnd()),
      '.fi',
    ]),
    '.SH FILES',
    ...[
      ['/etc/keyturn/settings.json', 'Settings. "keyturn-server settings" lists all of them.'],
      ['/etc/keyturn/passphrase', 'Passphrase of the secrets that the server stores. Back it up.'],
      ['/var/lib/keyturn', 'Data: blobs, and one SQLite file.'],
      ['/usr/share/doc/keyturn-server/examples', 'Files for the head signer and for proxies.'],
    ].flatMap(([path = '', meaning = '']) => ['.TP', `.I ${escaped(path)}`, escaped(meaning)]),
    '',
  ].join('\n')
}

/**
 * Asks a server for its help, command by command.
 *
 * @param node - The Node that runs it.
 * @param main - Its program.
 */
export function serverHelps(node: string, main: string): Help[] {
  const help = (...words: readonly string[]): string => run('/', node, main, ...words, '--help')
  const below = (text: string): string[] =>
    [...(text.split('\nCommands:\n')[1] ?? '').matchAll(/^ {2}([a-z-]+)/gm)]
      .map(([, name = '']) => name)
      .filter((name) => name !== 'help')
  const visit = (words: readonly string[]): Help[] => {
    const text = help(...words)
    return [{ command: words.join(' '), text }, ...below(text).flatMap((name) => visit([...words, name]))]
  }
  return visit([])
}
