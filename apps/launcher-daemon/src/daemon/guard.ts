import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { LauncherError } from '@keyturn/install-engine'

/** Longest body of a request. */
export const maxBodyBytes = 64 * 1024

/** What lets a caller in. */
export interface Credentials {
  readonly token: string
  readonly sessions: PageSessions
}

const MAX_SESSIONS = 16
const SESSION_IDLE_MS = 12 * 3_600_000

/**
 * Sessions of pages; each began with a one-time code. The secret lives in the page and comes back in a header: a cookie
 * would also be sent to every other port of this machine, another user's among them.
 */
export class PageSessions {
  /** Secret to the time it was last used. */
  readonly #used = new Map<string, number>()
  readonly #monotonic: () => number

  constructor(monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic
  }

  /** Begins a session; the oldest ends when there are too many. */
  begin(): string {
    const secret = randomBytes(32).toString('hex')
    this.#used.set(secret, this.#monotonic())
    if (this.#used.size > MAX_SESSIONS) {
      const [oldest] = [...this.#used].toSorted(([, a], [, b]) => a - b)
      if (oldest !== undefined) this.#used.delete(oldest[0])
    }
    return secret
  }

  /** Whether a secret belongs to a session that was used within twelve hours. */
  has(secret: string): boolean {
    const now = this.#monotonic()
    let found = false
    for (const [known, usedAt] of this.#used) {
      if (now - usedAt > SESSION_IDLE_MS) this.#used.delete(known)
      else if (sameSecret(secret, known)) {
        this.#used.set(known, now)
        found = true
      }
    }
    return found
  }
}

/** Whether two secrets are equal, in time that does not depend on where they differ. */
export function sameSecret(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function refuse(message: string): never {
  throw new LauncherError('LA_API_AUTH', message)
}

/** One value of a header; a header that came twice is refused. */
function single(request: IncomingMessage, name: string): string | undefined {
  const values = request.headersDistinct[name]
  if (values === undefined) return undefined
  if (values.length !== 1) refuse(`Refused: header "${name}" came ${values.length} times`)
  return values[0]
}

/**
 * Refuses what another page, a rebound name or a form could send: `Host` must be exactly this server's address,
 * `Origin` its own or absent.
 *
 * @param hosts - `127.0.0.1:<port>` and `[::1]:<port>`; `undefined` on a Unix socket, which no browser reaches.
 */
export function checkSender(request: IncomingMessage, hosts: readonly string[] | undefined): void {
  if (hosts === undefined) {
    if (request.headers.origin !== undefined) refuse('Refused: no page speaks over this socket')
    return
  }
  const host = single(request, 'host')
  if (host === undefined || !hosts.includes(host)) refuse('Refused: this is not the host that was asked for')
  const origin = single(request, 'origin')
  if (origin !== undefined && !hosts.some((own) => origin === `http://${own}` && own === host))
    refuse('Refused: the request comes from another page')
  const site = single(request, 'sec-fetch-site')
  if (site === undefined || site === 'same-origin' || site === 'none') return
  // The file that hands the page's address over is "another site" to the browser; its one-time code is the proof.
  const isHandOver = request.method === 'GET' && single(request, 'sec-fetch-mode') === 'navigate'
  if (!(isHandOver && (request.url ?? '').startsWith('/?code='))) refuse('Refused: the request comes from another site')
}

/**
 * Whether a request carries the token of the 0600 file, or the session secret of a page that was opened with a code.
 */
export function isKnown(request: IncomingMessage, { token, sessions }: Credentials): boolean {
  const secret = /^Bearer ([0-9a-f]{64})$/.exec(single(request, 'authorization') ?? '')?.[1]
  return secret !== undefined && (sameSecret(secret, token) || sessions.has(secret))
}

/** Reads the JSON body of a change; nothing but `application/json`, so that no form can send it. */
export async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  if (single(request, 'content-type') !== 'application/json')
    throw new LauncherError('LA_API_REQUEST', 'Refused: changes are POST of application/json')
  if (Number(request.headers['content-length'] ?? '0') > maxBodyBytes)
    throw new LauncherError('LA_API_REQUEST', `Refused: the body is over ${maxBodyBytes} bytes`)
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of request as AsyncIterable<Uint8Array>) {
    length += part.length
    if (length > maxBodyBytes)
      throw new LauncherError('LA_API_REQUEST', `Refused: the body is over ${maxBodyBytes} bytes`)
    parts.push(part)
  }
  return new Uint8Array(Buffer.concat(parts))
}
