import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerProjectInit } from './init.ts'

/** Registers `keyturn project`. */
export function registerProject(program: Command, cli: Cli): void {
  registerProjectInit(
    program.command('project').description('write the project file keyturn.json: what a release is made of'),
    cli,
  )
}
