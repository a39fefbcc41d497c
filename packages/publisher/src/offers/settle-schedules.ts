import { KeyturnError } from '@keyturn/primitives'
import type { HomeSession } from '../home-session.ts'
import type { PublisherHost } from '../session.ts'
import { adoptOffered } from '../records/sealed.ts'
import { openKnownClient } from '../server/server.ts'
import { readKnownHeads } from '../records/verified-head.ts'

/**
 * Takes the keys of scheduled releases that are offered by now among the keys of the home: a head signer may have put
 * them in force while this home was closed. Asks the server only where a time has passed.
 *
 * @param host - The program.
 * @param home - Open home, locked.
 */
export async function settleSchedules(host: PublisherHost, home: HomeSession): Promise<void> {
  const due = (home.description.sealedKeys ?? []).filter(({ at }) => at !== undefined && Date.parse(at) <= host.clock())
  for (const { channel } of due) {
    const { base } = await knownHeads(home, channel)
    if (base !== undefined) await adoptOffered(home, base.head)
  }
}

async function knownHeads(home: HomeSession, channel: string): ReturnType<typeof readKnownHeads> {
  try {
    return await readKnownHeads(home, channel, await openKnownClient({}, home))
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.kind === 'bug') throw error
    return await readKnownHeads(home, channel)
  }
}
