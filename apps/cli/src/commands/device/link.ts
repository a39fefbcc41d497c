import { didKey } from '@keyturn/kel'
import { printable } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { attestDevice, openIdentity, openOwnLog, refuseFrozen } from '@keyturn/publisher/identity'
import type { AliasOption } from './options.ts'

interface LinkOptions extends AliasOption {
  readonly did?: string | undefined
  readonly name?: string | undefined
  readonly note?: string | undefined
}

/** Registers the command `link`. */
export function registerDeviceLink(device: Command, cli: Cli): void {
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
  const files = await attestDevice({ identity, kel, signer }, document, nowMs)
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
