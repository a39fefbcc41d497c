import type { Command } from 'commander'

/** Adds `--server` and `--token-file` to a command. */
export function withServer(command: Command): Command {
  return command
    .option('--server <url>', 'the release server (default: the one of the home)')
    .option(
      '--token-file <file>',
      'file with the access token (default: the variable KEYTURN_TOKEN_FILE or KEYTURN_TOKEN, else the one of ' +
        '"keyturn serve" here)',
    )
    .option('--insecure-http', 'send the access token over plain http to another machine')
}
