import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerProtect } from './protect.ts'
import { registerShow } from './show.ts'
import { registerUnprotect } from './unprotect.ts'

/** Registers `keyturn channel`. */
export function registerChannel(program: Command, cli: Cli): void {
  const channel = program
    .command('channel')
    .description('protect a channel on the server with an access code, or open it again')
  registerShow(channel, cli)
  registerProtect(channel, cli)
  registerUnprotect(channel, cli)
}
