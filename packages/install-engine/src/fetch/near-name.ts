import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

/** Addresses of a host name; an error or none: there is no such name here. */
export type ResolveHost = (name: string) => Promise<readonly string[]>

/** The name service of this system, with its own files and settings. */
export const systemResolveHost: ResolveHost = async (name) =>
  (await lookup(name, { all: true })).map(({ address }) => address)

/** A name service that takes longer does not know a cache on this network. */
const PATIENCE_MS = 2_000

const NEAR = new BlockList()
for (const [network, prefix] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const)
  NEAR.addSubnet(network, prefix)
for (const [network, prefix] of [
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
] as const)
  NEAR.addSubnet(network, prefix, 'ipv6')

function isNearAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && NEAR.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/**
 * Whether the host of an address is on the player's own network. An operator names one host for all players; only where
 * the network's own name service gives it a private address is anything there. Everywhere else, no request is sent: the
 * name does not exist, or somebody took it over in public.
 */
export async function isNear(url: string, resolve: ResolveHost): Promise<boolean> {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0) return true // named by its address: nothing is looked up
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<readonly string[]>((done) => {
    timer = setTimeout(() => done([]), PATIENCE_MS)
  })
  try {
    const found = await Promise.race([resolve(host), late])
    return found.length > 0 && found.every(isNearAddress)
  } catch {
    return false
  } finally {
    clearTimeout(timer)
  }
}
