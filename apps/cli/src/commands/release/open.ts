import type { Context } from '../../command.ts'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { readRestored, requireFresh } from '@keyturn/publisher/release'
import { refuseWhileRotating } from '@keyturn/publisher/rotation'
import { serverOfHome } from '../rotate/client.ts'

/**
 * Opens the home for a command that makes, signs or publishes something others rely on: not while it is frozen, nor
 * while a rotation is half done.
 *
 * @param context - The command.
 * @param options - Whether the home is changed: then it is locked.
 * @throws KelError `KEL_FROZEN`; {@link CliError} `CLI_TURN_PENDING`, `CLI_HOME_STALE`, and those of `openHome`.
 */
export async function openToRelease(context: Context, options: { readonly write: boolean }): Promise<HomeSession> {
  await refuseFrozen(context.homeFolder, context.clock)
  const home = await openHome(context, options)
  await refuseWhileRotating(home.paths)
  if (options.write && (await readRestored(home.paths.folder)) !== undefined)
    await requireFresh(context, home, { client: await serverOfHome(home) })
  return home
}
