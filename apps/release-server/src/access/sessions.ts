import { base64urlEncode, hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import type { FastifyRequest } from 'fastify'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { OidcChecker } from './oidc.ts'
import type { Actor, TokenChecker } from './tokens.ts'

/** How long a login of the dashboard lasts. */
export const sessionMs = 12 * 60 * 60_000
const cookieName = 'keyturn_session'

interface StoredSession {
  readonly actor: Actor
  readonly expires_ms: number
}

function keyOf(secret: string): string {
  return hexEncode(sha256(utf8Encode(secret)))
}

/** The secret of a session in the cookies of a request. */
function cookieOf(request: FastifyRequest): string | undefined {
  const cookies = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='))
  return cookies.find(([name]) => name === cookieName)?.[1]
}

/** Tells who makes a request: by token, OIDC token, or the session of the dashboard. */
export class Authenticator {
  readonly #context: ServerContext
  readonly #tokens: TokenChecker
  readonly #oidc: OidcChecker | undefined
  readonly #publicOrigin: string | undefined

  constructor(
    context: ServerContext,
    tokens: TokenChecker,
    oidc: OidcChecker | undefined,
    publicUrl: string | undefined,
  ) {
    this.#context = context
    this.#tokens = tokens
    this.#oidc = oidc
    this.#publicOrigin = publicUrl === undefined ? undefined : new URL(publicUrl).origin
  }

  /** The caller; `SRV_AUTH` without one, `SRV_ORIGIN` when another page uses the session. */
  async authenticate(request: FastifyRequest): Promise<Actor> {
    const { authorization } = request.headers
    const session = authorization === undefined ? cookieOf(request) : undefined
    if (session !== undefined) return this.#bySession(request, session)
    return this.#bySecret(authorization)
  }

  /** Begins a session for the holder of a token; gives the cookie. */
  async logIn(secret: string, secure: boolean): Promise<{ actor: Actor; cookie: string }> {
    const actor = await this.#bySecret(`Bearer ${secret}`)
    const cookie = base64urlEncode(this.#context.random(32))
    const stored: StoredSession = { actor, expires_ms: this.#context.clock() + sessionMs }
    await this.#context.metadata.transaction([], (records) =>
      records.put('sessions', { key: keyOf(cookie), value: stored as unknown as JsonObject }),
    )
    return {
      actor,
      cookie: `${cookieName}=${cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${sessionMs / 1000}${secure ? '; Secure' : ''}`,
    }
  }

  /** Ends the session of a request; gives the cookie that removes it. */
  async logOut(request: FastifyRequest): Promise<string> {
    const secret = cookieOf(request)
    if (secret !== undefined)
      await this.#context.metadata.transaction([], (records) => records.delete('sessions', keyOf(secret)))
    return `${cookieName}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`
  }

  /** Refuses a change that a page of another origin asked for. */
  checkOrigin(request: FastifyRequest): void {
    if (request.method === 'GET' || request.method === 'HEAD') return
    const { origin, host = '' } = request.headers
    const own = this.#publicOrigin === undefined ? [`http://${host}`, `https://${host}`] : [this.#publicOrigin]
    if (origin === undefined || !own.includes(origin))
      throw new ServerError('SRV_ORIGIN', 'The change was asked for by a page of another origin')
  }

  #bySecret(authorization: string | undefined): Promise<Actor> {
    const jwt = /^Bearer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i.exec(authorization ?? '')?.[1]
    return jwt !== undefined && this.#oidc !== undefined
      ? this.#oidc.authenticate(jwt)
      : this.#tokens.authenticate(authorization)
  }

  async #bySession(request: FastifyRequest, secret: string): Promise<Actor> {
    const stored = (await this.#context.metadata.get('sessions', keyOf(secret)))?.value as unknown as
      | StoredSession
      | undefined
    if (stored === undefined || stored.expires_ms <= this.#context.clock())
      throw new ServerError('SRV_AUTH', 'The session has ended: log in again')
    this.checkOrigin(request)
    // A revoked token ends its sessions too.
    if (stored.actor.name.startsWith('token:'))
      await this.#tokens.requireValid(stored.actor.name.slice('token:'.length))
    return stored.actor
  }
}

/** Forgets sessions that have ended. */
export async function sweepSessions(context: ServerContext): Promise<void> {
  const records = await context.metadata.list('sessions', { limit: 10_000 })
  const ended = records
    .filter(({ value }) => (value as unknown as StoredSession).expires_ms <= context.clock())
    .map(({ key }) => key)
  if (ended.length > 0) await context.metadata.transaction([], (writer) => writer.delete('sessions', ...ended))
}
