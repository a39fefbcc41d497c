import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerRotateNow } from './rotate-now.ts'
import { registerFreeze } from './freeze.ts'
import { registerUnfreeze } from './unfreeze.ts'
import { registerReport } from './report.ts'

/** Registers `keyturn emergency …`. */
export function registerEmergency(program: Command, cli: Cli): void {
  const emergency = program
    .command('emergency')
    .description('act when a key may be stolen: rotate now, freeze, unfreeze, report')
  registerRotateNow(emergency, cli)
  registerFreeze(emergency, cli)
  registerUnfreeze(emergency, cli)
  registerReport(emergency, cli)
}
