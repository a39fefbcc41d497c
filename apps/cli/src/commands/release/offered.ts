import type { Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import type { HomeSession } from '@keyturn/publisher'
import { findRelease, readReleases, readStoredHead, signRelease } from '@keyturn/publisher/release'
import type { StoredHead, StoredRelease } from '@keyturn/publisher/release'
import { openToRelease } from './open.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface Offered {
  readonly home: HomeSession
  readonly channel: string
  readonly head: StoredHead
  readonly release: StoredRelease
}

export async function offered(context: Context, options: ChannelOption): Promise<Offered> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const head = await readStoredHead(home.paths, channel)
  if (head === undefined)
    throw new CliError('CLI_TURN_UNREADY', `Channel "${channel}" has no head yet`, {
      hint: 'Run "keyturn release head"',
    })
  return { home, channel, head, release: await findRelease(home.paths, channel, head.head.manifest.version) }
}

/** What those outside get: what the head says, else the newest release before that was not withdrawn. */
export async function fallbackOf({ home, channel, head, release }: Offered): Promise<StoredRelease> {
  if (head.head.fallback !== undefined)
    return await signRelease(home, await findRelease(home.paths, channel, head.head.fallback.version))
  const withdrawn = new Set(head.head.revoked.map(({ sha256 }) => sha256))
  const before = (await readReleases(home.paths, channel))
    .filter(
      ({ manifest, sha256, signatures }) =>
        (manifest.sequence ?? 0) < (release.manifest.sequence ?? 0) &&
        manifest.epoch === release.manifest.epoch &&
        signatures !== undefined &&
        !withdrawn.has(sha256),
    )
    .at(-1)
  if (before === undefined)
    throw new CliError('CLI_USAGE', `There is no release before ${release.manifest.version} that others could get`)
  // A release from before a turn of the release key gains the signature that counts now.
  return await signRelease(home, before)
}
