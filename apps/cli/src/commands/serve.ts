import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServer } from '@keyturn/release-server'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { wholeNumber } from '../flags/values.ts'
import { loadServer } from '../server-package.ts'
import { homePaths } from '@keyturn/publisher'

interface ServeOptions {
  readonly host: string
  readonly port: string
  readonly data?: string
}

/** Scopes of the token that the publisher on this machine uses. */
const PUBLISHER_SCOPES = ['admin'] as const
const PUBLISHER_DAYS = 90

/** Registers `keyturn serve`. */
export function registerServe(program: Command, cli: Cli): void {
  const serve = program
    .command('serve')
    .description('run the release server on embedded storage until Ctrl-C; "keyturn-server" has every option')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 is any free one', '8470')
    .option('--data <dir>', 'folder of the storage (default: server in the home)')
  cli.define<ServeOptions>(serve, { example: 'keyturn serve --port 8470', run: runServe })
}

async function runServe(context: Context, options: ServeOptions): Promise<CommandResult> {
  const { createReleaseServer } = await loadServer()
  const dataDir = resolve(options.data ?? homePaths(context.homeFolder).server)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const server = await createReleaseServer({
    dataDir,
    host: options.host,
    port: wholeNumber(options.port, '--port', 0, 65_535),
  })
  try {
    const tokenFile = await publisherToken(server, dataDir)
    const { url, port } = await server.listen()
    context.announce({
      data: { url, port, data: dataDir, token_file: tokenFile },
      text: `Release server at ${url}\nPublisher's token in ${tokenFile}\nCtrl-C stops it.`,
    })
    await new Promise<void>((stop) => {
      if (context.signal.aborted) stop()
      context.signal.addEventListener('abort', () => stop(), { once: true })
    })
  } finally {
    await server.close()
  }
  return { data: {} }
}

/** The first token is made here, on the machine itself, never over the network. */
async function publisherToken(server: ReleaseServer, dataDir: string): Promise<string> {
  const file = join(dataDir, 'publisher.token')
  if (!(await pathExists(file))) {
    const { secret } = await server.createToken({ name: 'publisher', scopes: PUBLISHER_SCOPES, days: PUBLISHER_DAYS })
    await writeFileAtomic(file, utf8Encode(`${secret}\n`), { mode: 0o600 })
  }
  return file
}
