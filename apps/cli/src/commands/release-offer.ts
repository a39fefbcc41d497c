import type { Command } from 'commander'
import type { Context } from '../command.ts'
import type { HomeSession } from '../publisher/home-session.ts'
import { publishRelease } from '../publisher/publish-release.ts'
import { issueHead, type HeadPlan } from '../publisher/sign-release.ts'
import type { StoredHead, StoredRelease } from '../publisher/store.ts'
import { openClient, serverUrl, withServer, type ServerOptions } from './release-client.ts'

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
  context: Context, home: HomeSession, release: StoredRelease, options: OfferOptions, plan: Omit<HeadPlan, 'nowMs'> = {},
): Promise<{ head: StoredHead; published: boolean }> {
  const head = await issueHead(home, release, { nowMs: context.clock(), ...plan })
  if (options.local === true || serverUrl(options, home.description) === undefined) return { head, published: false }
  await publishRelease(home, await openClient(options, home), release, head, { signal: context.signal })
  return { head, published: true }
}

/** Says whether launchers see it already. */
export function publishedText(published: boolean): string {
  return published ? 'published' : 'not published yet: "keyturn release publish"'
}
