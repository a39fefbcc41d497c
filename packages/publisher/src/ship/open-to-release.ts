import { refuseFrozen } from '../freeze.ts'
import { openHome } from '../home-session.ts'
import type { HomeSession } from '../home-session.ts'
import { catchUpTrust } from '../offers/catch-up.ts'
import { readRestored, requireFresh } from '../records/freshness.ts'
import { settleSchedules } from '../offers/settle-schedules.ts'
import { openKnownClient } from '../server/server.ts'
import { refuseWhileRotating } from '../rotation/pending.ts'
import type { PublisherHost } from '../session.ts'

/**
 * Opens the home to make, sign or publish something others rely on: not while it is frozen, nor while a rotation is
 * half
 * done, nor, after a restore, while it is older than what its server has. A home for CI takes over what that has.
 *
 * @param host - The program.
 * @param options - Whether the home is changed: then it is locked.
 * @throws KelError `KEL_FROZEN`; {@link PublisherError} `CLI_TURN_PENDING`, `CLI_HOME_STALE`, and those of `openHome`.
 */
export async function openToRelease(host: PublisherHost, options: { readonly write: boolean }): Promise<HomeSession> {
  await refuseFrozen(host.homeFolder, host.clock)
  const home = await openHome(host, options)
  await refuseWhileRotating(home.paths)
  if (!options.write) return home
  await settleSchedules(host, home)
  if (home.description.bundle !== undefined) {
    const client = await openKnownClient({}, home)
    if (client !== undefined) await catchUpTrust(home, client)
  } else if ((await readRestored(home.paths.folder)) !== undefined)
    await requireFresh(host, home, { client: await openKnownClient({}, home) })
  return home
}
