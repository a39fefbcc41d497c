import { lookup as lookUp } from 'node:dns'
import { request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { BlockList, isIP } from 'node:net'
import type { LookupFunction } from 'node:net'
import { ServerError } from '../errors.ts'

// Where clouds tell a machine about itself, its credentials too: the machine's own link, and three addresses of theirs.
// Nobody receives events there. Other private addresses stay allowed: operators have their receivers there.
const METADATA = new BlockList()
METADATA.addSubnet('169.254.0.0', 16)
METADATA.addAddress('100.100.100.200')
METADATA.addAddress('192.0.0.192')
METADATA.addSubnet('fe80::', 10, 'ipv6')
METADATA.addAddress('fd00:ec2::254', 'ipv6')

function refuseMetadata(address: string): void {
  const family = isIP(address)
  if (family !== 0 && METADATA.check(address, family === 6 ? 'ipv6' : 'ipv4'))
    throw new ServerError('SRV_REQUEST', 'Cannot send events to this address: machines of a cloud are described there')
}

/** Looks a name up and refuses what it leads to before anything is connected, so that no second look-up differs. */
function checkedLookup(resolveName: typeof lookUp): LookupFunction {
  return (host, options, done) =>
    resolveName(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, '')
      try {
        for (const { address } of found) refuseMetadata(address)
      } catch (refusal) {
        return done(refusal as NodeJS.ErrnoException, '')
      }
      const [first] = found
      return options.all === true ? done(null, found) : done(null, first?.address ?? '', first?.family)
    })
}

/**
 * Checks the address of a webhook. Names are checked when they are looked up, at each delivery.
 *
 * @throws ServerError `SRV_REQUEST`.
 */
export function checkReceiver(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || (parsed.protocol !== 'https:' && parsed.protocol !== 'http:') || parsed.username !== '')
    throw new ServerError('SRV_REQUEST', 'Cannot use this webhook address: expected http or https without a user name')
  refuseMetadata(parsed.hostname.replace(/^\[|\]$/g, ''))
  return parsed
}

/** An event on its way. */
export interface PostedEvent {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** How long the receiver may take, in milliseconds. */
  readonly withinMs: number
  /** A seam for tests; default: the name service of this system. */
  readonly resolveName?: typeof lookUp | undefined
}

/**
 * Sends an event and returns the status of the answer. Redirects are answers like others, and no body is read.
 *
 * @throws ServerError `SRV_REQUEST` for an address where machines of a cloud are described; what the network throws.
 */
export async function postEvent(url: string, event: PostedEvent): Promise<number> {
  const { headers, body, withinMs, resolveName = lookUp } = event
  const target = checkReceiver(url)
  const options = {
    method: 'POST',
    headers: { ...headers, 'content-length': Buffer.byteLength(body) },
    lookup: checkedLookup(resolveName),
    signal: AbortSignal.timeout(withinMs),
  }
  return await new Promise((resolve, reject) => {
    const onAnswer = (answer: IncomingMessage): void => {
      resolve(answer.statusCode ?? 0)
      answer.destroy()
    }
    const request: ClientRequest =
      target.protocol === 'http:' ? httpRequest(target, options, onAnswer) : httpsRequest(target, options, onAnswer)
    request.on('error', reject)
    request.end(body)
  })
}
