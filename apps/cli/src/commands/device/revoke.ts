import { KelError } from '@keyturn/kel'
import { printable } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { attestDevice, listDevices, openIdentity, openOwnLog, refuseFrozen } from '@keyturn/publisher/identity'
import type { Device } from '@keyturn/publisher/identity'
import type { AliasOption } from './options.ts'

interface RevokeOptions extends AliasOption {
  readonly note?: string | undefined
}

/** Registers the command `revoke`. */
export function registerDeviceRevoke(device: Command, cli: Cli): void {
  const revoke = device
    .command('revoke <device>')
    .description('revoke a device by its name or DID: it no longer speaks for the identity')
    .option('--note <text>', 'why', '')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<RevokeOptions>(revoke, {
    example: 'keyturn device revoke build-box --note "disk replaced"',
    dryRun: true,
    run: runRevoke,
  })
}

function findDevice(devices: readonly Device[], wanted: string): Device {
  const found = devices.filter(({ did, name }) => did === wanted || name === wanted)
  const [device] = found
  if (device === undefined)
    throw new CliError('CLI_USAGE', `No device is called "${printable(wanted)}"`, { hint: 'keyturn device list' })
  if (found.length > 1)
    throw new CliError('CLI_USAGE', `Several devices are called "${printable(wanted)}": give the DID`)
  return device
}

async function runRevoke(
  context: Context,
  options: RevokeOptions,
  [wanted = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  await refuseFrozen(context.homeFolder, context.clock)
  const identity = await openIdentity(context, { alias: options.alias, write: !context.dryRun })
  const kel = await openOwnLog(identity)
  const device = findDevice(await listDevices(identity, kel), wanted)
  if (device.status === 'revoked') throw new KelError('KEL_ATTESTATION', `Device "${device.name}" is revoked already`)
  if (context.dryRun) return { data: { dry_run: true, did: device.did }, text: `Would revoke device "${device.name}"` }
  await context.ask.confirm(`Revoke device "${device.name}"?`)
  const signer = await (await identity.keys()).eventSigner([identity.alias])
  const nowMs = context.clock()
  const document = {
    did: device.did,
    name: device.name,
    status: 'revoked' as const,
    at: new Date(nowMs).toISOString(),
    note: options.note ?? '',
  }
  const files = await attestDevice({ identity, kel, signer }, document, nowMs)
  return {
    data: { did: device.did, name: device.name, document: files.document },
    text: `Device "${device.name}" is revoked; publish ${files.document} and its signature`,
  }
}
