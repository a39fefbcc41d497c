import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerLauncherBuild } from './build.ts'
import { registerLauncherPublish } from './publish.ts'

/** Registers `keyturn launcher`. */
export function registerLauncher(program: Command, cli: Cli): void {
  const launcher = program
    .command('launcher')
    .description('build the launcher that players double-click, and keep it up to date')
  registerLauncherBuild(launcher, cli)
  registerLauncherPublish(launcher, cli)
}
