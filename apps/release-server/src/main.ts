#!/usr/bin/env node
import { Command } from 'commander'
import { exitCodeOf, runCommand } from './command-line.ts'
import { addHeadSignerCommand } from './commands/head-signer.ts'
import { addMaintenanceCommands } from './commands/maintenance.ts'
import { addServeCommand } from './commands/serve.ts'
import { addTokenCommands } from './commands/token.ts'

const program = new Command('keyturn-server')
  .description('The release server of Keyturn')
  .option('--config <file>', 'JSON file with settings; the environment goes first')
  .option('--data <folder>', 'data folder, over KEYTURN_DATA_DIR')
  .option('--json', 'answer with one JSON object')
  .exitOverride()
addServeCommand(program)
addTokenCommands(program)
addMaintenanceCommands(program)
addHeadSignerCommand(program)

await runCommand(() => program.parseAsync()).catch((error: unknown) => {
  process.exitCode = exitCodeOf(error, program.opts()['json'] === true)
})
