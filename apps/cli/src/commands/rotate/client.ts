import type { HomeSession } from '@keyturn/publisher'
import { openClient, serverUrl } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'

/** The server of the home, to be asked what is published; undefined when none is known. */
export async function serverOfHome(home: HomeSession): Promise<Awaited<ReturnType<typeof openClient>> | undefined> {
  return home.description.server === undefined ? undefined : await openClient({}, home)
}

/** The server that a rotation is published to; undefined when it is to wait in the home, or when no server is known. */
export async function clientOf(
  flags: ServerOptions & { readonly local?: boolean },
  home: HomeSession,
): Promise<Awaited<ReturnType<typeof openClient>> | undefined> {
  return flags.local === true || serverUrl(flags, home.description) === undefined
    ? undefined
    : await openClient(flags, home)
}
