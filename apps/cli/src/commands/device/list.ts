import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { listDevices, openIdentity, openOwnLog } from '@keyturn/publisher/identity'
import type { AliasOption } from './options.ts'

interface ListOptions extends AliasOption {
  readonly includeRevoked?: boolean | undefined
}

/** Registers the command `list`. */
export function registerDeviceList(device: Command, cli: Cli): void {
  const list = device
    .command('list')
    .description('list the linked devices; void ones were linked before the last rotation')
    .option('--include-revoked', 'show revoked ones too')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<ListOptions>(list, { example: 'keyturn device list', run: runList })
}

async function runList(context: Context, options: ListOptions): Promise<CommandResult> {
  const identity = await openIdentity(context, options)
  const devices = (await listDevices(identity, await openOwnLog(identity))).filter(
    ({ status }) => options.includeRevoked === true || status !== 'revoked',
  )
  return {
    data: {
      devices: devices.map(({ did, name, status, linkedAt, note, sn }) => ({
        did,
        name,
        status,
        linked_at: linkedAt,
        note,
        sn,
      })),
    },
    text:
      devices.length === 0
        ? 'No devices'
        : formatTable(devices.map(({ name, status, did, linkedAt }) => [name, status, did, linkedAt])),
  }
}
