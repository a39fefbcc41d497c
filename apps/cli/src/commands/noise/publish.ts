import { readFile } from 'node:fs/promises'
import {
  activeKey,
  addKey,
  afterPublication,
  nextKey,
  publish as publishKeys,
  readSigningAnswer,
} from '@keyturn/noise-keys/owner'
import type { SignedPublication } from '@keyturn/noise-keys/owner'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { directoryOf, nowSeconds, openTransport, writableDirectoriesOf } from '@keyturn/publisher/transport'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { runRotation } from '../rotate/run-rotation.ts'
import { deriveKey, openTransportChange, unusedDevice, withPlaces } from './change.ts'
import type { PlaceOptions } from './change.ts'
import { dateText } from './dates.ts'

interface PublishOptions extends PlaceOptions {
  readonly device: string
  readonly request?: string | undefined
  readonly answer?: string | undefined
}

/** Registers `keyturn noise publish`. */
export function registerNoisePublish(noise: Command, cli: Cli): void {
  const publish = withPlaces(
    noise.command('publish').description('publish records, key list and packet; the first time with a first key'),
  )
    .option('--device <id>', 'device id of the first key', 'server')
    .option('--request <file>', 'a signing request, with --answer')
    .option('--answer <file>', 'its answer: publishes what is dated up to now, needs no key here')
  cli.define<PublishOptions>(publish, {
    example: [
      'keyturn noise publish --to https://updates.example',
      'keyturn noise publish --request r.json --answer a.json',
    ],
    dryRun: true,
    run: runPublish,
  })
}

async function runPublish(context: Context, options: PublishOptions): Promise<CommandResult> {
  if (options.request !== undefined || options.answer !== undefined) return await publishAnswer(context, options)
  const command = await openTransportChange(context, options, {
    order: 'turn',
    // What was interrupted goes out first: its sequence numbers are the lower ones.
    covers: () => false,
    async work(home) {
      const hasKey = activeKey(home.metadata) !== undefined || nextKey(home.metadata) !== undefined
      const metadata = hasKey
        ? home.metadata
        : addKey(home.metadata, await deriveKey(home, unusedDevice(home.metadata, options.device)), nowSeconds(context))
      return { metadata, did: 'published', order: 'turn', asked: 'publish' }
    },
  })
  return await runRotation(context, command, {})
}

async function publishAnswer(context: Context, options: PublishOptions): Promise<CommandResult> {
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  if (options.request === undefined || options.answer === undefined)
    throw new CliError('CLI_USAGE', '--request and --answer go together')
  const home = await openTransport(context, { write: true })
  const nowS = nowSeconds(context)
  const all = readSigningAnswer(await readFile(options.request), await readFile(options.answer))
  const due = all.filter(({ atS, identity }) => atS <= nowS && identity === home.metadata.identity)
  const last = due.at(-1)
  const later = all.filter(({ atS }) => atS > nowS).map(({ atS }) => dateText(atS))
  if (last === undefined)
    throw new CliError('CLI_TURN_UNREADY', `Nothing in the answer is due for ${home.metadata.identity}`, {
      hint: `The next is dated ${later[0] ?? 'nowhere'}`,
    })
  const after = afterPublication(home.metadata, last)
  if (!context.dryRun) {
    const to = await writableDirectoriesOf(context, options.to, { session: home.session, tokenFile: options.tokenFile })
    await home.store(after)
    await publishKeys(directoryOf(to), last, revokes(last) ? 'revocation' : 'turn')
  }
  return {
    data: { identity: last.identity, signed_for: dateText(last.atS), still_to_come: later, list: after.list?.seq },
    text:
      `${context.dryRun ? 'would publish' : 'published'} what was signed for ${dateText(last.atS)}; ` +
      `${later.length} still to come`,
  }
}

function revokes({ records }: SignedPublication): boolean {
  return [...records.values()].some((text) => text.includes(';st=revoked;'))
}
