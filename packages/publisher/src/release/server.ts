import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { HomeDescription, HomePaths } from '../home.ts'
import { readIfThere } from './store.ts'

/** Options of commands that speak to a release server. */
export interface ServerOptions {
  /** `--server`; default: that of the home. */
  readonly server?: string | undefined
  /** `--token-file`; default: the variable `KEYTURN_TOKEN`, else the token that `keyturn serve` made in this home. */
  readonly tokenFile?: string | undefined
}

/** What of an open home is needed to reach its server. */
export interface OpenHome {
  readonly description: HomeDescription
  readonly paths: HomePaths
}

/** Address of the server a command is about; undefined when neither flag nor home names one. */
export function serverUrl(options: ServerOptions, description: HomeDescription): string | undefined {
  return options.server ?? description.server
}

/** As {@link serverUrl}, for commands that cannot do without. */
export function requireServer(options: ServerOptions, description: HomeDescription): string {
  const url = serverUrl(options, description)
  if (url === undefined)
    throw new PublisherError('CLI_USAGE', 'No release server is known', {
      hint: 'Give --server, or set it with keyturn init --server',
    })
  return url
}

/**
 * Opens the client of a release server.
 *
 * @throws {@link PublisherError} `CLI_USAGE` when the address or the token file is not usable.
 */
export async function openClient(
  options: ServerOptions,
  { description, paths }: OpenHome,
): Promise<ReleaseServerClient> {
  const url = requireServer(options, description)
  if (!URL.canParse(url))
    throw new PublisherError('CLI_USAGE', '--server wants an address like https://updates.example.org')
  const token = await readToken(options, paths)
  return new ReleaseServerClient(url, token === undefined || token === '' ? {} : { token })
}

/** The flag, else the variables, else the token that "keyturn serve" made in this home. */
async function readToken(options: ServerOptions, paths: HomePaths): Promise<string | undefined> {
  const file = options.tokenFile ?? process.env['KEYTURN_TOKEN_FILE']
  if (file !== undefined && file !== '') return (await readFile(file, 'utf8')).trim()
  const fromEnvironment = process.env['KEYTURN_TOKEN']
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
  const bytes = await readIfThere(join(paths.server, 'publisher.token'))
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes).trim()
}
