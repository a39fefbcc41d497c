import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerEnrollHeadSigner } from './enroll-head-signer.ts'
import { registerPropose } from './propose.ts'
import { registerSeal } from './seal.ts'
import { registerShow } from './show.ts'

/** Registers `keyturn roles`. */
export function registerRoles(program: Command, cli: Cli): void {
  const roles = program
    .command('roles')
    .description('show or change who may sign releases and heads, in role documents that the identity seals')
  registerShow(roles, cli)
  registerPropose(roles, cli)
  registerSeal(roles, cli)
  registerEnrollHeadSigner(roles, cli)
}
