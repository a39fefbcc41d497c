import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServer } from '@keyturn/release-server'

const FILE = 'publisher.token'
const SCOPES = ['admin'] as const
const DAYS = 90
/** A token with less than this left is replaced, so that a job that reads the file has time to finish. */
const LEAST_DAYS = 30
const DAY_MS = 86_400_000
/** How often a running server looks. */
const CHECK_MS = 3_600_000

/** The token of the publisher on the machine of the server, made there and never over the network. */
export interface PublisherToken {
  readonly file: string
  /** Ends the looking. */
  stop(): void
}

/**
 * Keeps `publisher.token` in the data folder valid while the server runs: makes it if there is none, and replaces it
 * before it expires. A token that was revoked or that the server does not know stays: somebody meant that, or `doctor`
 * has to report it.
 *
 * @param warn - Called when it could not be replaced; the next try is an hour later.
 */
export async function keepPublisherToken(
  server: ReleaseServer,
  dataDir: string,
  { clock, warn }: { readonly clock: Clock; readonly warn: (message: string) => void },
): Promise<PublisherToken> {
  const file = join(dataDir, FILE)
  await renew(server, file, clock)
  const timer = setInterval(() => {
    renew(server, file, clock).catch((error: unknown) => warn(`Cannot replace "${file}": ${String(error)}`))
  }, CHECK_MS)
  return { file, stop: () => clearInterval(timer) }
}

async function renew(server: ReleaseServer, file: string, clock: Clock): Promise<void> {
  if (await pathExists(file)) {
    const expiresMs = await server.tokenExpiry((await readFile(file, 'utf8')).trim())
    if (expiresMs === undefined || expiresMs - clock() > LEAST_DAYS * DAY_MS) return
  }
  const { secret } = await server.createToken({ name: 'publisher', scopes: SCOPES, days: DAYS })
  await writeFileAtomic(file, utf8Encode(`${secret}\n`), { mode: 0o600 })
}
