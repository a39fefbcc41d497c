import { join } from 'node:path'
import { parseStrictJson, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { recoverTransportSecret, type OwnKey, type TransportMetadata } from '@keyturn/noise-keys'
import type { Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { readIfThere } from '../publisher/store.ts'
import type { TransportHome } from './noise-home.ts'
import { openClient } from './release-client.ts'

/** Servers that use the transport keys of a home; noted when they get the first, so that a turn never leaves them behind. */
const FILE = 'hand-over.json'
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

/** What is handed over, and with which token. */
export interface HandOver {
  /** Addresses that `--hand-over` adds to those noted before. */
  readonly servers: readonly string[]
  readonly tokenFile?: string | undefined
}

/**
 * Gives every server that uses the transport keys of this home the secrets of the active and the next key, which it
 * seals in its vault and uses while their published records say so. Comes before publishing: a server must hold a key
 * when the first client asks for it.
 *
 * @returns The addresses.
 * @throws {@link CliError} `CLI_USAGE` for an address that is neither https nor of this machine.
 */
export async function handOverKeys(context: Context, home: TransportHome, metadata: TransportMetadata, { servers, tokenFile }: HandOver): Promise<string[]> {
  const noted = await readNoted(home)
  const all = [...new Set([...noted, ...servers])]
  for (const url of all) assertPrivate(url)
  const keys = metadata.keys.filter(({ state, generation }) => (state === 'active' || state === 'next' || state === 'retiring') && generation !== 'random')
  for (const url of all) {
    const client = await openClient({ server: url, ...(tokenFile === undefined ? {} : { tokenFile }) }, home.session)
    for (const key of keys) await home.withSeed((seed) => withSecret(seed, key, (secret) => client.putTransportKey(metadata.identity, key.device, secret)))
    context.out.step('hand-over', `handed ${keys.map(({ device }) => device).join(', ')} to ${url}`)
  }
  if (all.length > noted.length) await writeFileAtomic(join(home.paths.transport, FILE), new TextEncoder().encode(`${JSON.stringify({ version: 1, servers: all }, null, 2)}\n`), { mode: 0o600 })
  return all
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
 * @throws {@link CliError} `CLI_USAGE`.
 */
export function assertPrivate(url: string): void {
  const { protocol, hostname } = new URL(url)
  if (protocol === 'https:' || LOOPBACK.has(hostname)) return
  throw new CliError('CLI_USAGE', `"${url}" is neither https nor on this machine: a secret does not travel there`)
}

async function readNoted(home: TransportHome): Promise<string[]> {
  const bytes = await readIfThere(join(home.paths.transport, FILE))
  if (bytes === undefined) return []
  const value = parseStrictJson(bytes, { maxBytes: 65_536 }) as unknown as { servers?: unknown }
  return Array.isArray(value.servers) ? value.servers.filter((url): url is string => typeof url === 'string' && URL.canParse(url)) : []
}
