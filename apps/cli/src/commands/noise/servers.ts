import { openHome } from '@keyturn/publisher'
import { readNoted, writeNoted } from '@keyturn/publisher/transport'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'

interface ServersOptions {
  readonly remove?: string | undefined
}

/** Registers `keyturn noise servers`. */
export function registerNoiseServers(noise: Command, cli: Cli): void {
  const servers = noise
    .command('servers')
    .description('list the servers that get the secrets of current keys, or remove one')
    .option(
      '--remove <url>',
      'hand nothing to this server any more; what it has is worth something until those keys are revoked or retired',
    )
  cli.define<ServersOptions>(servers, {
    example: ['keyturn noise servers', 'keyturn noise servers --remove https://updates.example'],
    dryRun: true,
    run: runServers,
  })
}

async function runServers(context: Context, { remove }: ServersOptions): Promise<CommandResult> {
  const { paths } = await openHome(context, { write: remove !== undefined && !context.dryRun })
  const noted = await readNoted({ paths })
  const left = noted.filter((url) => url !== remove)
  const removed = left.length < noted.length
  if (removed && !context.dryRun) await writeNoted(paths.transport, left)
  const list = left.length === 0 ? 'no server is handed keys' : left.join('\n')
  const did =
    remove === undefined
      ? ''
      : removed
        ? `${context.dryRun ? 'would remove' : 'removed'} ${remove}; it keeps the keys it has: "keyturn noise ` +
          'revoke" ends them\n\n'
        : `${remove} was not among them\n\n`
  return {
    data: {
      servers: left,
      removed: remove === undefined ? undefined : removed,
      dry_run: context.dryRun ? true : undefined,
    },
    text: `${did}${list}`,
  }
}
