import type { Command } from 'commander'
import { verifyStoredAudit } from '../audit.ts'
import { configOf, printAnswer } from '../command-line.ts'
import { settings } from '../config.ts'
import { optionsFromConfig } from '../from-config.ts'
import { createReleaseServer } from '../server.ts'
import type { ReleaseServer } from '../server.ts'

/** Runs work on the stores, without listening. */
export async function withStores<T>(command: Command, work: (server: ReleaseServer) => Promise<T>): Promise<T> {
  const server = await createReleaseServer(await optionsFromConfig(await configOf(command)))
  try {
    return await work(server)
  } finally {
    await server.close()
  }
}

/** Commands that look after the stores. */
export function addMaintenanceCommands(program: Command): void {
  program.command('settings').description('List all settings').action((_options: unknown, command: Command) => {
    const width = Math.max(...settings.map(({ variable }) => variable.length))
    printAnswer(command, settings, settings.map(({ variable, meaning }) => `${variable.padEnd(width)}  ${meaning}`).join('\n'))
  })
  program.command('audit-verify').description('Check the hash chain of the audit log').action(async (_options: unknown, command: Command) => {
    const entries = await withStores(command, ({ context }) => verifyStoredAudit(context.metadata))
    printAnswer(command, { entries }, `The audit log is whole: ${entries} entries`)
  })
}
