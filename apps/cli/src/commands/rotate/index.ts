import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerRotateAll } from './all.ts'
import { registerRotateContent } from './content.ts'
import { registerRotateIdentity } from './identity.ts'
import { registerRotateTransport } from './transport.ts'
import { registerRotateTransportIdentity } from './transport-identity.ts'
import { registerRotateVault } from './vault.ts'

/** Registers `keyturn rotate …`. */
export function registerRotate(program: Command, cli: Cli): void {
  const rotate = program
    .command('rotate')
    .description('rotate a key: planned, shown, done, and resumed where it was interrupted')
  registerRotateContent(rotate, cli)
  registerRotateIdentity(rotate, cli)
  registerRotateTransport(rotate, cli)
  registerRotateTransportIdentity(rotate, cli)
  registerRotateVault(rotate, cli)
  registerRotateAll(rotate, cli)
}
