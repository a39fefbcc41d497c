import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { askAgent } from '../agent/ask-agent.ts'
import { removeLeftSocket } from '../agent/left-behind.ts'

/** Registers `keyturn lock`. */
export function registerLock(program: Command, cli: Cli): void {
  const lock = program.command('lock').description('end what "keyturn unlock" began: the passphrase leaves the memory')
  cli.define(lock, { example: 'keyturn lock', run: runLock })
}

async function runLock(context: Context): Promise<CommandResult> {
  const reply = await askAgent(context, 'lock')
  const wasUnlocked = reply !== undefined
  if (!wasUnlocked) removeLeftSocket(context)
  return {
    data: { was_unlocked: wasUnlocked },
    text: wasUnlocked ? 'Locked' : 'Nothing was unlocked',
  }
}
