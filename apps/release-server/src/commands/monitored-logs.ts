import type { Command } from 'commander'
import { configOf, printAnswer } from '../command-line.ts'
import { storesFromConfig } from '../from-config.ts'
import { monitoredLogs } from '../tlog/monitored-logs.ts'

/** `keyturn-server monitored-logs`: what the server has seen of the logs that it watches. */
export function addMonitoredLogsCommand(program: Command): void {
  program
    .command('monitored-logs')
    .description('show the logs of others that this server watches; exit 1 when one of them has findings')
    .action(async (_options: unknown, command: Command) => {
      const { metadata, blobs } = await storesFromConfig(await configOf(command), { missing: 'require' })
      try {
        const items = (await monitoredLogs.all(metadata)).map(({ value }) => ({
          origin: value.origin,
          size: value.size,
          checked_at: new Date(value.checkedMs).toISOString(),
          findings: [...value.findings],
        }))
        const lines = items.flatMap(({ origin, size, checked_at: checked, findings }) => [
          `${origin}  ${size} entries  looked at ${checked}  ${findings.length === 0 ? 'nothing is wrong' : ''}`.trimEnd(),
          ...findings.map((finding) => `  ${finding}`),
        ])
        printAnswer(command, { items }, lines.length === 0 ? 'No log is watched' : lines.join('\n'))
        if (items.some(({ findings }) => findings.length > 0)) process.exitCode = 1
      } finally {
        await metadata.close()
        await blobs.close()
      }
    })
}
