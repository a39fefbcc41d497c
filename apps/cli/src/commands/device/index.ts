import { KelError, didKey } from '@keyturn/kel'
import { printable } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import { attestDevice, listDevices, openIdentity, openOwnLog, refuseFrozen } from '@keyturn/publisher/identity'
import type { Device } from '@keyturn/publisher/identity'

interface AliasOption {
  readonly alias?: string
}
interface LinkOptions extends AliasOption {
  readonly did?: string
  readonly name?: string
  readonly note?: string
}
interface ListOptions extends AliasOption {
  readonly includeRevoked?: boolean
}
interface RevokeOptions extends AliasOption {
  readonly note?: string
}

/** Registers `keyturn device …`. */
export function registerDevice(program: Command, cli: Cli): void {
  const device = program
    .command('device')
    .description('devices that may speak for the identity until the next rotation')
  const link = device
    .command('link')
    .description('attest a device; after a rotation each device has to be linked again')
    .option('--did <did>', 'did:key of the device (default: a key made here)')
    .option('--name <name>', 'what to call it', 'device')
    .option('--note <text>', 'a note for yourself', '')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<LinkOptions>(link, {
    example: 'keyturn device link --name build-box --did did:key:z6Mk…',
    dryRun: true,
    run: runLink,
  })
  const list = device
    .command('list')
    .description('linked devices; void ones were linked before the last rotation')
    .option('--include-revoked', 'show revoked ones too')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<ListOptions>(list, { example: 'keyturn device list', run: runList })
  const revoke = device
    .command('revoke <device>')
    .description('say that a device no longer speaks for the identity; by its name or DID')
    .option('--note <text>', 'why', '')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<RevokeOptions>(revoke, {
    example: 'keyturn device revoke build-box --note "disk replaced"',
    dryRun: true,
    run: runRevoke,
  })
}

async function runLink(context: Context, options: LinkOptions): Promise<CommandResult> {
  await refuseFrozen(context.homeFolder, context.clock)
  const identity = await openIdentity(context, { alias: options.alias, write: !context.dryRun })
  const kel = await openOwnLog(identity)
  const name = options.name ?? 'device'
  if (context.dryRun)
    return { data: { dry_run: true, name }, text: `Would link device "${printable(name)}" at event ${kel.state.sn}` }
  const keys = await identity.keys()
  const did = options.did ?? didKey(await keys.makeSigning(`device/${name}`, 'identity'))
  const signer = await keys.eventSigner([identity.alias])
  const nowMs = context.clock()
  const document = { did, name, status: 'linked' as const, at: new Date(nowMs).toISOString(), note: options.note ?? '' }
  const files = await attestDevice(identity, kel, signer, document, nowMs)
  return {
    data: { did, name, sn: kel.state.sn, said: kel.state.said, document: files.document, signature: files.signature },
    text: formatTable([
      ['linked', name],
      ['device', did],
      ['by', `did:keri:${identity.prefix} at event ${kel.state.sn}`],
      ['attestation', files.document],
    ]),
  }
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
  const files = await attestDevice(identity, kel, signer, document, nowMs)
  return {
    data: { did: device.did, name: device.name, document: files.document },
    text: `Device "${device.name}" is revoked; publish ${files.document} and its signature`,
  }
}
