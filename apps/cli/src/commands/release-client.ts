import { readFile } from 'node:fs/promises'
import { ReleaseServerClient } from '@keyturn/release-server/client'
import type { Command } from 'commander'
import { CliError } from '../errors.ts'
import type { HomeDescription } from '../home.ts'

/** Options of commands that speak to a release server. */
export interface ServerOptions {
  /** `--server`; default: that of the home. */
  readonly server?: string
  /** `--token-file`; default: the variable `KEYTURN_TOKEN`. */
  readonly tokenFile?: string
}

/** Adds `--server` and `--token-file` to a command. */
export function withServer(command: Command): Command {
  return command
    .option('--server <url>', 'the release server (default: the one of the home)')
    .option('--token-file <file>', 'file with the access token (default: the variable KEYTURN_TOKEN)')
}

/** Address of the server a command is about; undefined when neither flag nor home names one. */
export function serverUrl(options: ServerOptions, description: HomeDescription): string | undefined {
  return options.server ?? description.server
}

/** As {@link serverUrl}, for commands that cannot do without. */
export function requireServer(options: ServerOptions, description: HomeDescription): string {
  const url = serverUrl(options, description)
  if (url === undefined) throw new CliError('CLI_USAGE', 'No release server is known', { hint: 'Give --server, or set it with keyturn init --server' })
  return url
}

/**
 * Opens the client of a release server.
 *
 * @throws {@link CliError} `CLI_USAGE` when the address or the token file is not usable.
 */
export async function openClient(options: ServerOptions, description: HomeDescription): Promise<ReleaseServerClient> {
  const url = requireServer(options, description)
  if (!URL.canParse(url)) throw new CliError('CLI_USAGE', '--server wants an address like https://updates.example.org')
  const token = options.tokenFile === undefined ? process.env['KEYTURN_TOKEN'] : (await readFile(options.tokenFile, 'utf8')).trim()
  return new ReleaseServerClient(url, token === undefined || token === '' ? {} : { token })
}
