import { join } from 'node:path'
import { KeyturnError, parseStrictJson, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { recoverTransportSecret } from '@keyturn/noise-keys/owner'
import type { OwnKey, TransportMetadata } from '@keyturn/noise-keys/owner'
import type { PublisherHost } from '../session.ts'
import { PublisherError } from '../errors.ts'
import { readIfThere } from '../records/store.ts'
import type { TransportHome } from './transport-home.ts'
import { openClient } from '../server/server.ts'

/** Servers that use the transport keys of a home; noted when they get the first, so that no rotation forgets them. */
const FILE = 'hand-over.json'
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

/** What is delivered, and with which token. */
export interface HandOver {
  /** Addresses that `--hand-over` adds to those noted before. */
  readonly servers: readonly string[]
  readonly tokenFile?: string | undefined
  /** Behind a revocation: a server that fails is named in a warning, and the others get theirs. */
  readonly bestEffort?: boolean
}

/** Which servers have the keys now. */
export interface HandedOver {
  readonly handed: readonly string[]
  readonly failed: readonly string[]
}

/**
 * Gives every server that uses the transport keys of this home the secrets of the active and the next key, which it
 * seals in its vault and uses while their published records say so. Comes before publishing: a server must hold a key
 * when the first client asks for it. A revocation alone waits for no server.
 *
 * @throws {@link PublisherError} `CLI_USAGE` for an address that is neither https nor of this machine; `CLI_NETWORK`
 *   when a
 * server does not take them.
 */
export async function handOverKeys(
  host: PublisherHost,
  home: TransportHome,
  metadata: TransportMetadata,
  { servers, tokenFile, bestEffort }: HandOver,
): Promise<HandedOver> {
  const noted = await readNoted(home)
  const all = [...new Set([...noted, ...servers])]
  if (bestEffort !== true) all.forEach(assertPrivate)
  const keys = metadata.keys.filter(
    ({ state, generation }) =>
      (state === 'active' || state === 'next' || state === 'retiring') && generation !== 'random',
  )
  const handOne = async (url: string): Promise<void> => {
    assertPrivate(url)
    const client = await openClient({ server: url, tokenFile }, home.session)
    for (const key of keys)
      await home.withSeed((seed) =>
        withSecret(seed, key, (secret) => client.putTransportKey(metadata.identity, key.device, secret)),
      )
    host.onStep('hand-over', `handed ${keys.map(({ device }) => device).join(', ')} to ${url}`)
  }
  const failed: string[] = []
  for (const url of all) {
    try {
      await handOne(url)
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      if (bestEffort !== true) throw refused(host, url, error)
      failed.push(url)
      host.warn(
        `"${url}" was not handed the keys in use: ${error.message}. Run "keyturn noise publish" when it answers, ` +
          `or "keyturn noise servers --remove ${url}"`,
      )
    }
  }
  const handed = all.filter((url) => !failed.includes(url))
  const known = [...new Set([...noted, ...handed])]
  if (known.length > noted.length) await writeNoted(home.paths.transport, known)
  return { handed, failed }
}

/** What a rotation says that a server holds up, with every way out. */
function refused(host: PublisherHost, url: string, cause: KeyturnError): KeyturnError {
  const waysOut =
    `remove it with "keyturn noise servers --remove ${url}", or give this rotation up ` +
    'with "keyturn noise rotate --abandon": nothing of it is published'
  // Of a token that is missing or too weak its own error says what to do.
  if (cause.kind === 'auth' || cause.kind === 'usage' || cause.kind === 'policy') {
    host.warn(`"${url}" holds the rotation up: ${waysOut}`)
    return cause
  }
  return new PublisherError('CLI_NETWORK', `"${url}" did not take the transport keys: ${cause.message}`, {
    cause,
    details: { server: url },
    hint: `Run the same command when it answers, ${waysOut}`,
  })
}

/** Writes down the servers that are handed keys. */
export async function writeNoted(folder: string, servers: readonly string[]): Promise<void> {
  await writeFileAtomic(
    join(folder, FILE),
    new TextEncoder().encode(`${JSON.stringify({ version: 1, servers }, null, 2)}\n`),
    { mode: 0o600 },
  )
}

async function withSecret<T>(seed: Uint8Array, key: OwnKey, use: (secret: Uint8Array) => Promise<T>): Promise<T> {
  const secret = recoverTransportSecret(seed, key)
  try {
    return await use(secret)
  } finally {
    wipe(secret)
  }
}

/**
 * A secret goes through TLS, or does not leave the machine.
 *
 * @throws {@link PublisherError} `CLI_USAGE`.
 */
export function assertPrivate(url: string): void {
  const { protocol, hostname } = new URL(url)
  if (protocol === 'https:' || LOOPBACK.has(hostname)) return
  throw new PublisherError('CLI_USAGE', `"${url}" is neither https nor on this machine: a secret does not travel there`)
}

/** The servers that are handed keys. */
export async function readNoted(home: Pick<TransportHome, 'paths'>): Promise<string[]> {
  const bytes = await readIfThere(join(home.paths.transport, FILE))
  if (bytes === undefined) return []
  const value = parseStrictJson(bytes, { maxBytes: 65_536 }) as unknown as { servers?: unknown }
  return Array.isArray(value.servers)
    ? value.servers.filter((url): url is string => typeof url === 'string' && URL.canParse(url))
    : []
}
