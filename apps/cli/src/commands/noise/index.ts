import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerNoiseAudit } from './audit.ts'
import { registerNoiseInterval } from './interval.ts'
import { registerNoiseLookup } from './lookup.ts'
import { registerNoiseServers } from './servers.ts'
import { registerNoiseContacts } from './contacts.ts'
import { registerNoiseDerive } from './derive.ts'
import { registerNoisePlan } from './plan.ts'
import { registerNoiseStatus } from './status.ts'
import { registerNoisePublish } from './publish.ts'
import { registerNoiseRevoke } from './revoke.ts'
import { registerNoiseRotate } from './rotate.ts'
import { registerNoiseSignRequest } from './sign-request.ts'

/** Registers `keyturn noise`. */
export function registerNoise(program: Command, cli: Cli): void {
  const noise = program
    .command('noise')
    .description('derive, publish, rotate, revoke and look up transport keys; sign offline by file')
  registerNoiseDerive(noise, cli)
  registerNoisePublish(noise, cli)
  registerNoiseRotate(noise, cli)
  registerNoiseRevoke(noise, cli)
  registerNoiseServers(noise, cli)
  registerNoiseContacts(noise, cli)
  registerNoiseLookup(noise, cli)
  registerNoiseStatus(noise, cli)
  registerNoisePlan(noise, cli)
  registerNoiseInterval(noise, cli)
  registerNoiseSignRequest(noise, cli)
  registerNoiseAudit(noise, cli)
}
