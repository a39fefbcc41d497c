import type { Command } from 'commander'
import type { Context } from '../../command.ts'
import { withServer } from '../../flags/server.ts'
import type { HomeSession } from '@keyturn/publisher'
import { issueHead, openClient, publishRelease, serverUrl } from '@keyturn/publisher/release'
import type { HeadPlan, ServerOptions, StoredHead, StoredRelease } from '@keyturn/publisher/release'

/** Options of commands that change what a channel offers. */
export interface OfferOptions extends ServerOptions {
  /** `--local`: sign, and publish nothing now. */
  readonly local?: boolean
}

/** Adds the server's flags and `--local`. */
export function withOffer(command: Command): Command {
  return withServer(command).option('--local', 'sign the new head and publish nothing now')
}

/** Signs the next head for a release and publishes both, unless that is to wait. */
export async function offer(
  context: Context,
  home: HomeSession,
  release: StoredRelease,
  options: OfferOptions,
  plan: Omit<HeadPlan, 'nowMs'> = {},
): Promise<{ head: StoredHead; published: boolean }> {
  const nowMs = context.clock()
  if (options.local === true || serverUrl(options, home.description) === undefined) {
    return { head: await issueHead(home, release, { nowMs, ...plan }), published: false }
  }
  const client = await openClient(options, home)
  // A head signer beside the server may have gone on counting.
  const channel = release.manifest.channel ?? home.description.channel
  const current =
    (await client.getProduct(home.description.product)) && (await client.getChannel(home.description.product, channel))
  const head = await issueHead(home, release, { nowMs, atLeastSequence: (current?.head?.sequence ?? 0) + 1, ...plan })
  await publishRelease(home, client, release, head, { signal: context.signal })
  return { head, published: true }
}

/** Says whether launchers see it already. */
export function publishedText(published: boolean): string {
  return published ? 'published' : 'not published yet: "keyturn release publish"'
}
