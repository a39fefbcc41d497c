import { KeyturnError } from '@keyturn/primitives'
import { activeKey, addKey, cutOver, nextDeviceId, nextKey, revoke } from '@keyturn/noise-keys/owner'
import type { RevocationReason } from '@keyturn/noise-keys'
import type { TransportMetadata } from '@keyturn/noise-keys/owner'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { dropRotation } from '@keyturn/publisher/pending'
import { readRotation, transportRotation } from '@keyturn/publisher/rotation'
import { nowSeconds, openTransport } from '@keyturn/publisher/transport'
import type { TransportHome } from '@keyturn/publisher/transport'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { runRotation } from '../rotate/run-rotation.ts'
import { deriveKey, isSameChange, openTransportChange, withPlaces } from './change.ts'
import type { PlaceOptions } from './change.ts'

interface RevokeOptions extends PlaceOptions {
  readonly reason: string
  readonly replace?: boolean | undefined
}

const REASONS: readonly RevocationReason[] = ['compromise', 'lost', 'superseded', 'retired', 'unspecified']
/** What a server, a folder or a freeze may answer; a mistyped passphrase is no reason to leave a change behind. */
const PLACE_FAILED = /^(?:SRV_|NK_|CLI_NETWORK$|KEL_FROZEN$)/

/** Registers `keyturn noise revoke`. */
export function registerNoiseRevoke(noise: Command, cli: Cli): void {
  const command = withPlaces(
    noise
      .command('revoke')
      .description('revoke the key of a device, at once and for good')
      .argument('<device>', 'device id'),
  )
    .option('--reason <why>', `one of ${REASONS.join(', ')}`, 'compromise')
    .option('--replace', 'publish a fresh key in its place')
  cli.define<RevokeOptions>(command, {
    example: 'keyturn noise revoke laptop --reason lost --replace --yes',
    dryRun: true,
    run: runRevoke,
  })
}

async function runRevoke(
  context: Context,
  options: RevokeOptions,
  [device = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const reason = REASONS.find((word) => word === options.reason)
  if (reason === undefined) throw new CliError('CLI_USAGE', `--reason is none of ${REASONS.join(', ')}`)
  const replace = options.replace === true
  const asked = `revoke ${device} --reason ${reason}${replace ? ' --replace' : ''}`
  const { paths } = await openTransport(context)
  const pending = await readRotation(paths.journals, transportRotation)
  if (pending !== undefined && !isSameChange(pending, asked, options))
    await settle(context, options, (metadata) => void revoke(metadata, device, reason, nowSeconds(context)))
  const command = await openTransportChange(context, options, {
    order: 'revocation',
    covers: () => true,
    question: `Revoke the key of "${device}" for good${replace ? ' and publish a new one' : ''}?`,
    async work(home) {
      const nowS = nowSeconds(context)
      const revoked = revoke(home.metadata, device, reason, nowS)
      const metadata = replace ? await replaceKey(home, revoked, device, nowS) : revoked
      const next = activeKey(metadata)
      const left = next === undefined ? 'no key is active now' : `${next.device} is active`
      return { metadata, did: `revoked ${device}; ${left}`, order: 'revocation', asked }
    },
  })
  return await runRotation(context, command, {})
}

/** The announced key takes its place where there is one; else a new one is derived. */
async function replaceKey(
  home: TransportHome,
  metadata: TransportMetadata,
  device: string,
  nowS: number,
): Promise<TransportMetadata> {
  if (activeKey(metadata) !== undefined) return metadata
  if (nextKey(metadata) !== undefined) return cutOver(metadata, nowS, 'superseded')
  return addKey(metadata, await deriveKey(home, nextDeviceId(metadata, device)), nowS)
}

/**
 * Finishes a change that was interrupted, as its sequence numbers are the lower ones. What cannot be finished now is
 * left behind: of a change that was not stored nothing went out; one that was is in the metadata, and what is signed
 * next says it again under higher numbers.
 *
 * @param check - Throws when the revocation is not possible at all.
 */
async function settle(
  context: Context,
  places: PlaceOptions,
  check: (metadata: TransportMetadata) => void,
): Promise<void> {
  const { journals } = (await openTransport(context)).paths
  const before = await readRotation(journals, transportRotation)
  try {
    // A frozen home revokes, and rotates nothing on schedule.
    if (before?.state.terms?.order === 'turn' && !context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
    const finishing = await openTransportChange(context, places, {
      order: 'revocation',
      covers: () => true,
      work: () => Promise.resolve(undefined),
    })
    if (!context.dryRun) await runRotation(context, finishing, {})
  } catch (error) {
    const pending = await readRotation(journals, transportRotation)
    if (
      !(error instanceof KeyturnError) ||
      !PLACE_FAILED.test(error.code) ||
      pending === undefined ||
      context.signal.aborted
    )
      throw error
    check((await openTransport(context, { write: true })).metadata)
    const what = pending.done.includes('store')
      ? 'goes out with this revocation'
      : 'is given up, nothing of it was published'
    context.out.warn(
      `what was interrupted cannot be finished (${error.message}) and ${what}: ${pending.state.terms?.did ?? ''}`,
    )
    await dropRotation(journals, transportRotation.name)
  }
}
