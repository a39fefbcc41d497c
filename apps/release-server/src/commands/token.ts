import { join } from 'node:path'
import { pathExists } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import { scopes } from '@keyturn/release-client'
import type { Scope } from '@keyturn/release-client'
import { configOf, printAnswer } from '../command-line.ts'
import { localOptions } from '../from-config.ts'
import type { OpenOptions } from '../from-config.ts'
import { createReleaseServer } from '../server.ts'
import type { ReleaseServer } from '../server.ts'
import { listTokens, revokeToken } from '../access/tokens.ts'

function list(value: string, previous: string[]): string[] {
  return [
    ...previous,
    ...value
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== ''),
  ]
}

/**
 * Works on the stores of the server itself: a server that runs at the same time sees the change at its next request.
 */
async function onServer(
  command: Command,
  missing: OpenOptions['missing'],
  work: (server: ReleaseServer) => Promise<void>,
): Promise<void> {
  const server = await createReleaseServer(await localOptions(await configOf(command), { missing }))
  try {
    await work(server)
  } finally {
    await server.close()
  }
}

/** `keyturn-server token …`: the first token is made on the machine itself, never by the first visitor. */
export function addTokenCommands(program: Command): void {
  const token = program.command('token').description('create, list and revoke tokens of the management API')
  addCreate(token)
  token
    .command('list')
    .description('list all tokens, without their secrets')
    .action(async (_options: object, command: Command) => {
      await onServer(command, 'require', async ({ context }) => {
        const tokens = await listTokens(context.metadata)
        const state = ({ revoked_at, expires_at }: (typeof tokens)[number]): string =>
          revoked_at === null ? `expires ${expires_at}` : `revoked ${revoked_at}`
        printAnswer(
          command,
          { items: tokens },
          tokens.map((entry) => `${entry.id}  ${state(entry)}  ${entry.name}  ${entry.scopes.join(',')}`).join('\n'),
        )
      })
    })
  token
    .command('revoke')
    .description('revoke a token at once: a stolen one, or one that nobody needs anymore')
    .argument('<id>', 'its id, see "token list"')
    .action(async (id: string, _options: object, command: Command) => {
      await onServer(command, 'require', async ({ context }) => {
        await revokeToken(context, id, { actor: 'local', requestId: 'command' })
        printAnswer(command, { id, revoked: true }, `Token ${id} is revoked`)
      })
    })
}

function addCreate(token: Command): void {
  token
    .command('create')
    .description('create a token; its secret is shown this once')
    .requiredOption('--name <text>', 'what it is for')
    .requiredOption('--scope <names>', `scopes, with commas: ${scopes.join(', ')}`, list, [])
    .option('--product <slugs>', 'limit to these products', list, [])
    .option('--channel <names>', 'limit to these channels', list, [])
    .option('--days <number>', 'days until it expires, 1 to 400', '90')
    .option('--upload-quota <bytes>', 'bytes of new blobs that it may upload in all (default: any number)', Number)
    .action(
      async (
        options: {
          name: string
          scope: string[]
          product: string[]
          channel: string[]
          days: string
          uploadQuota?: number | undefined
        },
        command: Command,
      ) => {
        const { dataDir, databaseUrl } = await configOf(command)
        const isNew = databaseUrl === undefined && !(await pathExists(join(dataDir, 'metadata.sqlite')))
        await onServer(command, 'create', async (server) => {
          const created = await server.createToken({
            name: options.name,
            scopes: options.scope as Scope[],
            products: options.product,
            channels: options.channel,
            days: Number(options.days),
            upload_quota: options.uploadQuota,
          })
          printAnswer(command, created, created.secret)
          if (isNew)
            process.stderr.write(
              `warning: "${dataDir}" had no data of a server. The token is for a server that you start on it; for one ` +
                'that runs already, name its folder with --data\n',
            )
        })
      },
    )
}
