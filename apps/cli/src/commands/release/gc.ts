import type { JsonValue } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withServer } from '../../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import { openClient } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'

interface GarbageOptions extends ServerOptions {
  readonly delete?: boolean | undefined
}

/** Registers `keyturn release gc`. */
export function registerGarbage(release: Command, cli: Cli): void {
  const gc = withServer(
    release
      .command('gc')
      .description('list what no kept release needs any more on the server; delete it only when told')
      .option('--delete', 'delete it'),
  )
  cli.define<GarbageOptions>(gc, { example: 'keyturn release gc', run: runGarbage })
}

async function runGarbage(context: Context, options: GarbageOptions): Promise<CommandResult> {
  const client = await openClient(options, await openHome(context))
  if (options.delete === true) await context.ask.confirm('Delete what no kept release needs?')
  const report = await client.collectGarbage({ dryRun: options.delete !== true })
  return { data: { ...(report as unknown as Record<string, JsonValue>) }, text: JSON.stringify(report, null, 2) }
}
