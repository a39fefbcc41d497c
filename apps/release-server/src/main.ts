#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command } from 'commander'
import { exitCodeOf, runCommand } from './command-line.ts'
import { addHeadSignerCommand, addHeadSignerKeyCommand } from './commands/head-signer.ts'
import { addLogKeyCommand } from './commands/log-key.ts'
import { addMaintenanceCommands } from './commands/maintenance.ts'
import { addMonitoredLogsCommand } from './commands/monitored-logs.ts'
import { addServeCommand } from './commands/serve.ts'
import { addTokenCommands } from './commands/token.ts'

const { version } = createRequire(import.meta.url)('../package.json') as { version: string }
const program = new Command('keyturn-server')
  .description('Serve releases, and the keys that open them, from your own machine.')
  .version(version, '-V, --version', 'print the version')
  .option('--config <file>', 'JSON file with settings; the environment goes first')
  .option('--data <folder>', 'data folder, over KEYTURN_DATA_DIR')
  .option('--json', 'answer with one JSON object')
  .exitOverride()
addServeCommand(program)
addTokenCommands(program)
addMaintenanceCommands(program)
addLogKeyCommand(program)
addMonitoredLogsCommand(program)
addHeadSignerCommand(program)
addHeadSignerKeyCommand(program)

await runCommand(() => program.parseAsync()).catch((error: unknown) => {
  process.exitCode = exitCodeOf(error, program.opts()['json'] === true)
})
