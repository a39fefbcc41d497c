import { formatPin } from '@keyturn/kel'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { openHome } from '@keyturn/publisher'
import { readIdentityLog, rolesInForce } from '@keyturn/publisher/records'

interface TrustOptions {
  readonly first?: boolean | undefined
}

/** Registers `keyturn release trust`. */
export function registerTrust(release: Command, cli: Cli): void {
  const trust = release
    .command('trust')
    .description('print the pin that launchers are built with: the identity and its newest place')
    .option('--first', 'the place of the inception instead: every log of the identity passes through it')
  cli.define<TrustOptions>(trust, { example: 'keyturn release trust', run: runTrust })
}

async function runTrust(context: Context, options: TrustOptions): Promise<CommandResult> {
  const { paths, description } = await openHome(context)
  const { prefix } = description.identity
  const { log } = await readIdentityLog(paths, prefix)
  const roles = await rolesInForce(paths, prefix)
  // A pin at the newest rotation leaves a thief of older day-to-day keys no log to show to a first install.
  const place = options.first === true ? { sn: 0, said: log.events[0]?.said ?? prefix } : log.state.lastEstablishment
  const pin = formatPin({ prefix, place })
  return {
    data: {
      pin,
      prefix,
      sn: place.sn,
      said: place.said,
      product: description.product,
      roles_version: roles.document.version,
    },
    text: pin,
  }
}
