import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerDeviceLink } from './link.ts'
import { registerDeviceList } from './list.ts'
import { registerDeviceRevoke } from './revoke.ts'

/** Registers `keyturn device …`. */
export function registerDevice(program: Command, cli: Cli): void {
  const device = program
    .command('device')
    .description('link, list and revoke devices that may speak for the identity until its next rotation')
  registerDeviceLink(device, cli)
  registerDeviceList(device, cli)
  registerDeviceRevoke(device, cli)
}
