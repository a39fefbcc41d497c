import { formatBytes } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import type { GarbageReport } from '@keyturn/release-client'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withServer } from '../../flags/server.ts'
import { counted } from '../../output.ts'
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
      .description('list what no kept release on the server needs; deletes it only with --delete')
      .option('--delete', 'delete it'),
  )
  cli.define<GarbageOptions>(gc, { example: 'keyturn release gc', run: runGarbage })
}

async function runGarbage(context: Context, options: GarbageOptions): Promise<CommandResult> {
  const client = await openClient(options, await openHome(context))
  if (options.delete === true) await context.ask.confirm('Delete what no kept release needs?')
  const report = await client.collectGarbage({ dryRun: options.delete !== true })
  return { data: { ...(report as unknown as Record<string, JsonValue>) }, text: reportText(report) }
}

/** What a person wants to know: what goes, how much that is, and how to really do it. */
function reportText(report: GarbageReport): string {
  const { dry_run: isDry, blobs_deleted: gone, bytes_deleted: bytes, blobs_marked: marked } = report
  const retired = report.releases_retired
  return [
    `${counted(report.releases_kept, 'release')} kept, with ${counted(report.blobs_referenced, 'blob')}`,
    ...(retired.length === 0
      ? []
      : [`${isDry ? 'Would retire' : 'Retired'} ${counted(retired.length, 'release')}: ${retired.join(', ')}`]),
    `${isDry ? 'Would delete' : 'Deleted'} ${counted(gone, 'blob')}, ${formatBytes(bytes)}`,
    ...(marked === 0 ? [] : [`${counted(marked, 'blob')} more will go once nobody needed them for long enough`]),
    ...(isDry && gone > 0 ? ['Delete them with: keyturn release gc --delete'] : []),
  ].join('\n')
}
