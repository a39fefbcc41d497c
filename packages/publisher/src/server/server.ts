import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { printable } from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { HomeDescription, HomePaths } from '../home.ts'
import { readIfThere } from '../records/store.ts'

/** Options of commands that speak to a release server. */
export interface ServerOptions {
  /** `--server`; default: that of the home. */
  readonly server?: string | undefined
  /** `--token-file`; default: the variable `KEYTURN_TOKEN`, else the token that `keyturn serve` made in this home. */
  readonly tokenFile?: string | undefined
  /** `--insecure-http`: send the token over plain http to another machine. */
  readonly insecureHttp?: boolean | undefined
}

/** The parts of an open home that are needed to reach its server. */
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

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost'])

/**
 * Opens the client of a release server. A token belongs to one server: what the environment or this home holds is sent
 * to the server of the home only, and never over plain http to another machine.
 *
 * @throws {@link PublisherError} `CLI_USAGE` when the address is not usable; `REL_SERVER_TOKEN`, `REL_INSECURE_SERVER`.
 */
export async function openClient(
  options: ServerOptions,
  { description, paths }: OpenHome,
): Promise<ReleaseServerClient> {
  const url = requireServer(options, description)
  if (!URL.canParse(url))
    throw new PublisherError('CLI_USAGE', '--server wants an address like https://updates.example.org')
  const token = await readToken(options, paths)
  if (token === undefined || token === '') return new ReleaseServerClient(url, {})
  checkMayHaveToken(new URL(url), options, description)
  return new ReleaseServerClient(url, { token })
}

/**
 * The client of the server that flags or the home name; undefined when none is known, or when none is to be asked.
 *
 * @param options - The flags; `local` asks no server.
 * @throws {@link PublisherError} Those of {@link openClient}.
 */
export async function openKnownClient(
  options: ServerOptions & { readonly local?: boolean | undefined },
  home: OpenHome,
): Promise<ReleaseServerClient | undefined> {
  if (options.local === true || serverUrl(options, home.description) === undefined) return undefined
  return await openClient(options, home)
}

function checkMayHaveToken({ origin, protocol, hostname }: URL, options: ServerOptions, home: HomeDescription): void {
  const own = home.server !== undefined && URL.canParse(home.server) ? new URL(home.server).origin : undefined
  if (options.tokenFile === undefined && own !== undefined && own !== origin)
    throw new PublisherError('REL_SERVER_TOKEN', `The access token belongs to ${own}, not to ${origin}`, {
      hint: `Give --token-file with a token of ${origin}`,
    })
  if (protocol === 'http:' && !LOOPBACK.has(hostname) && options.insecureHttp !== true)
    throw new PublisherError('REL_INSECURE_SERVER', `The access token would go to ${origin} in the clear`, {
      hint: 'Use https; on a network that nobody else can read, --insecure-http sends it anyway',
    })
}

/** The flag, else the variables, else the token that "keyturn serve" made in this home. */
async function readToken(options: ServerOptions, paths: HomePaths): Promise<string | undefined> {
  const file = options.tokenFile ?? process.env['KEYTURN_TOKEN_FILE']
  if (file !== undefined && file !== '') return await readTokenFile(file, options)
  const fromEnvironment = process.env['KEYTURN_TOKEN']
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
  const bytes = await readIfThere(join(paths.server, 'publisher.token'))
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes).trim()
}

async function readTokenFile(file: string, { tokenFile }: ServerOptions): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    if (!isMissing(error)) throw error
    const namedBy = tokenFile === undefined ? 'the variable KEYTURN_TOKEN_FILE' : '--token-file'
    throw new PublisherError(
      'CLI_PATH_UNKNOWN',
      `The file with the access token is not there: "${printable(file, 1000)}"`,
      {
        hint: `${namedBy} names it: correct that, or leave it out to use the token of the home`,
        cause: error,
      },
    )
  }
}
