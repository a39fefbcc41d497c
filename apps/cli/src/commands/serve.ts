import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathExists } from '@keyturn/primitives/node'
import type { ReleaseServer, ReleaseServerOptions } from '@keyturn/release-server'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { wholeNumber } from '../flags/values.ts'
import { keepPublisherToken } from '../publisher-token.ts'
import { loadServer } from '../server-package.ts'
import { canSignHeads, headPin, openDueSchedules, signHeadOfHome, vaultSecret } from '../serve-home.ts'
import { homePaths } from '@keyturn/publisher'
import type { ServerOptions } from '@keyturn/publisher/release'

interface ServeOptions {
  readonly host: string
  readonly port: string
  readonly data?: string | undefined
  readonly headSigner: boolean
  readonly confirm?: boolean | undefined
}

/** Registers `keyturn serve`. */
export function registerServe(program: Command, cli: Cli): void {
  const serve = program
    .command('serve')
    .description('run the release server on embedded storage until Ctrl-C; "keyturn-server" has every option')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 is any free one', '8470')
    .option('--data <dir>', 'folder of the storage (default: server in the home)')
    .option('--no-head-signer', 'renew no heads, and leave a halt from the dashboard to the command line')
    .option('--confirm', 'ask on this terminal before each change of a rollout; renewals are never asked about')
  cli.define<ServeOptions>(serve, {
    example: ['keyturn serve --port 8470', 'keyturn serve --no-head-signer'],
    run: runServe,
  })
}

/** What the keys of the home let the server do. */
interface ServerKeys {
  readonly options: Pick<ReleaseServerOptions, 'vault' | 'headSigner'>
  /** Tells the head signer where to read the public tree. */
  readonly attach: (server: ReleaseServer) => void
  readonly signsHeads: boolean
}

const NO_KEYS: ServerKeys = { options: {}, attach: () => {}, signsHeads: false }

async function runServe(context: Context, options: ServeOptions): Promise<CommandResult> {
  const { createReleaseServer } = await loadServer()
  const port = wholeNumber(options.port, '--port', 0, 65_535)
  const dataDir = resolve(options.data ?? homePaths(context.homeFolder).server)
  const keys = await keysOfHome(context, options, dataDir)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const server = await createReleaseServer({ dataDir, host: options.host, port, ...keys.options })
  keys.attach(server)
  try {
    const warn = (message: string): void => context.warn(message)
    const token = await keepPublisherToken(server, dataDir, { clock: context.clock, warn })
    context.defer(() => token.stop())
    const tokenFile = token.file
    const address = await server.listen()
    announce(context, { ...address, dataDir, tokenFile, keys })
    const stopWatching = keys.signsHeads ? watchHours(context, { server: address.url, tokenFile }) : undefined
    await new Promise<void>((stop) => {
      if (context.signal.aborted) stop()
      context.signal.addEventListener('abort', () => stop(), { once: true })
    }).finally(stopWatching)
  } finally {
    await server.close()
  }
  return { data: {} }
}

/** How often it is looked whether the hour of a scheduled release has come. */
const HOURS_MS = 2_000

/**
 * Opens scheduled releases at their hour, as a timer with "keyturn release renew" would.
 *
 * @returns Ends it, after what is under way.
 */
function watchHours(context: Context, server: ServerOptions): () => Promise<void> {
  let last = ''
  let running: Promise<void> | undefined
  const look = async (): Promise<void> => {
    try {
      const opened = await openDueSchedules(context, server)
      for (const version of opened) context.onStep('opened', `Release ${version} is open`)
      last = ''
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      // Said once; it is tried again all the same.
      if (message !== last) context.warn(`A scheduled release could not be opened: ${message}`)
      last = message
    }
  }
  const timer = setInterval(() => {
    running ??= look().finally(() => (running = undefined))
  }, HOURS_MS)
  return async () => {
    clearInterval(timer)
    await running
  }
}

/**
 * Opens what the home gives: a secret for the server's vault, which makes it a witness and lets it deliver runtime
 * keys, and a head signer.
 */
async function keysOfHome(context: Context, options: ServeOptions, dataDir: string): Promise<ServerKeys> {
  if (!(await pathExists(homePaths(context.homeFolder).description))) {
    context.warn(`No keys in "${context.homeFolder}": this server does not renew heads, receipt logs or deliver keys`)
    return NO_KEYS
  }
  if (!options.headSigner && !context.ask.hasPassphrase) {
    context.warn('No passphrase was given: this server does not renew heads, receipt logs or deliver keys')
    return NO_KEYS
  }
  const vault = {
    passphrase: await vaultSecret(context).catch(withoutPassphrase),
    // So that `keyturn-server` can take over the data folder, with the passphrase that its owner knows.
    secondPassphrase: await context.passphrase('Passphrase'),
  }
  if (!options.headSigner) return { ...NO_KEYS, options: { vault } }
  const why = await canSignHeads(context)
  if (why !== undefined) {
    context.warn(`This server renews no heads: ${why}`)
    return { ...NO_KEYS, options: { vault } }
  }
  const { localHeadSigner, readPublic } = await loadServer()
  let server: ReleaseServer | undefined
  const headSigner = localHeadSigner({
    signer: (payload) => signHeadOfHome(context, payload),
    pin: await headPin(context),
    state: join(dataDir, 'head-signer'),
    mode: options.confirm === true ? 'confirm' : 'auto',
    confirm: process.stdin.isTTY ? (summary) => askPerson(context, summary) : undefined,
    clock: context.clock,
    fetchPublic: async (path) => (server === undefined ? undefined : await readPublic(server.context, path)),
  })
  return {
    options: { vault, headSigner },
    attach: (made) => {
      server = made
    },
    signsHeads: true,
  }
}

/** In the background nobody can type it; the hint of a command that asks for it anyway would not fit. */
function withoutPassphrase(error: unknown): never {
  if (error instanceof CliError && error.code === 'CLI_NO_TERMINAL')
    throw new CliError('CLI_NO_TERMINAL', error.message, {
      cause: error,
      hint:
        'Give --passphrase-file, so that heads are renewed and a halt from the dashboard works; ' +
        'or --no-head-signer',
    })
  throw error
}

async function askPerson(context: Context, summary: string): Promise<boolean> {
  return /^(y|yes)$/i.test((await context.ask.line(`Sign this head?\n${summary}\n[y/N] `)).trim())
}

interface Listening {
  readonly url: string
  readonly port: number
  readonly dataDir: string
  readonly tokenFile: string
  readonly keys: ServerKeys
}

function announce(context: Context, { url, port, dataDir, tokenFile, keys }: Listening): void {
  const witness = keys.options.vault !== undefined
  context.announce({
    data: {
      url,
      port,
      data: dataDir,
      token_file: tokenFile,
      dashboard: `${url}/dashboard`,
      head_signer: keys.signsHeads,
      witness,
    },
    text: [
      `Release server at ${url}`,
      `Dashboard at ${url}/dashboard: log in with the token`,
      `Publisher's token in ${tokenFile}`,
      keys.signsHeads
        ? 'Heads are renewed, and a halt from the dashboard takes effect at once'
        : 'Heads are not renewed here: run "keyturn release renew --all" every day',
      'Ctrl-C stops it.',
    ].join('\n'),
  })
}
