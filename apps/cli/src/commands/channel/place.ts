import { checkChannelName, openHome } from '@keyturn/publisher'
import { openClient } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { Context } from '../../command.ts'

/** A channel of the home's product on its server. */
export interface ChannelPlace {
  readonly client: ReleaseServerClient
  readonly product: string
  readonly channel: string
}

/** Opens the server that a command about a channel speaks to. */
export async function openChannelPlace(
  context: Context,
  options: ServerOptions,
  name: string | undefined,
): Promise<ChannelPlace> {
  const channel = checkChannelName(name ?? '')
  const home = await openHome(context)
  return { client: await openClient(options, home), product: home.description.product, channel }
}
