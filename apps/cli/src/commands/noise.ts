import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import { registerNoiseAudit, registerNoiseLookup } from './noise-lookup.ts'
import { registerNoiseServers } from './noise-servers.ts'
import { registerNoiseDerive } from './noise-derive.ts'
import { registerNoisePlan, registerNoiseStatus } from './noise-status.ts'
import { registerNoisePublish, registerNoiseRevoke, registerNoiseRotate } from './noise-turn.ts'
import { registerNoiseSignRequest } from './noise-sign-request.ts'

/** Registers `keyturn noise`. */
export function registerNoise(program: Command, cli: Cli): void {
  const noise = program
    .command('noise')
    .description('transport keys: derive, publish, turn, revoke, look up; cold signing by file')
  registerNoiseDerive(noise, cli)
  registerNoisePublish(noise, cli)
  registerNoiseRotate(noise, cli)
  registerNoiseRevoke(noise, cli)
  registerNoiseServers(noise, cli)
  registerNoiseLookup(noise, cli)
  registerNoiseStatus(noise, cli)
  registerNoisePlan(noise, cli)
  registerNoiseSignRequest(noise, cli)
  registerNoiseAudit(noise, cli)
}
