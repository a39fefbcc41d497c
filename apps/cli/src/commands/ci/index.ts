import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerCiBundle } from './bundle.ts'

/** Registers `keyturn ci`. */
export function registerCi(program: Command, cli: Cli): void {
  registerCiBundle(
    program.command('ci').description('seal the keys that a build machine needs; the identity stays with you'),
    cli,
  )
}
