import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import { registerPropose } from './roles-propose.ts'
import { registerSeal } from './roles-seal.ts'
import { registerShow } from './roles-show.ts'

/** Registers `keyturn roles`. */
export function registerRoles(program: Command, cli: Cli): void {
  const roles = program
    .command('roles')
    .description('who may sign releases and heads: role documents sealed by the identity')
  registerShow(roles, cli)
  registerPropose(roles, cli)
  registerSeal(roles, cli)
}
