import { base64urlEncode, sha256Hex, utf8Encode } from '@keyturn/primitives'
import { scopes } from '@keyturn/release-client'
import type { Scope, SessionView } from '@keyturn/release-client'
import type { FastifyRequest } from 'fastify'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import { listOf, mapOf, numeric, object, oneOf, optional, preset, text, whole } from '../storage/shape.ts'
import { timestamp } from '../time.ts'
import { covers } from './actor.ts'
import type { Actor } from './actor.ts'
import type { Caller } from './caller.ts'
import type { OidcChecker, OidcClaims } from './oidc.ts'
import { namesOf } from './tokens.ts'
import type { TokenChecker } from './tokens.ts'

/** How long a login of the dashboard lasts at most; it never outlives its token. */
export const SESSION_MS = 12 * 60 * 60_000
const COOKIE_NAME = 'keyturn_session'
const TOKEN_PREFIX = 'token:'
/** Hex digits of the stored key that name a session to an administrator. */
const ID_LENGTH = 32

interface StoredSession {
  readonly actor: Actor
  readonly started_ms: number
  readonly expires_ms: number
  /** Claims of the OIDC token that began it: the current rules decide at each request. */
  readonly claims?: OidcClaims | undefined
}

/** Sessions by the SHA-256 of their secret. */
const sessions = collection(
  'sessions',
  object<StoredSession>({
    actor: object<Actor>({
      name: text,
      scopes: listOf(oneOf<Scope>(...scopes)),
      products: listOf(text),
      channels: listOf(text),
      uploadQuota: optional(whole),
    }),
    started_ms: preset(numeric, 0),
    expires_ms: numeric,
    claims: optional(mapOf(text)),
  }),
)

function keyOf(secret: string): string {
  return sha256Hex(utf8Encode(secret))
}

/** The secret of a session in the cookies of a request. */
function cookieOf(request: FastifyRequest): string | undefined {
  const cookies = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='))
  return cookies.find(([name]) => name === COOKIE_NAME)?.[1]
}

/** Who holds a secret, and until when it counts. */
interface Holder {
  readonly actor: Actor
  readonly expiresMs: number
  readonly claims?: OidcClaims | undefined
  readonly mayLogIn: boolean
}

/** What an {@link Authenticator} checks with. */
export interface AuthenticatorParts {
  readonly tokens: TokenChecker
  readonly oidc?: OidcChecker | undefined
  /** Address under which browsers see the server; default: whatever host they name. */
  readonly publicUrl?: string | undefined
}

/** Tells who makes a request: by token, OIDC token, or the session of the dashboard. */
export class Authenticator {
  readonly #context: ServerContext
  readonly #tokens: TokenChecker
  readonly #oidc: OidcChecker | undefined
  readonly #publicOrigin: string | undefined

  constructor(context: ServerContext, { tokens, oidc, publicUrl }: AuthenticatorParts) {
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
    return this.authenticateBearer(authorization)
  }

  /**
   * The caller of a request that carries a token, and no session.
   *
   * @param authorization - The header `Authorization`.
   * @throws ServerError `SRV_AUTH`.
   */
  async authenticateBearer(authorization: string | undefined): Promise<Actor> {
    const [, secret = ''] = /^Bearer ([\x21-\x7e]{1,8192})$/i.exec(authorization ?? '') ?? []
    return (await this.#bySecret(secret)).actor
  }

  /**
   * Begins a session for the holder of a token; returns the cookie. It ends with the token at the latest.
   *
   * @throws ServerError `SRV_AUTH`; `SRV_SCOPE` for an OIDC token whose rule does not allow logins.
   */
  async logIn(secret: string, secure: boolean): Promise<{ actor: Actor; cookie: string }> {
    const { actor, expiresMs, claims, mayLogIn } = await this.#bySecret(secret)
    if (!mayLogIn)
      throw new ServerError('SRV_SCOPE', 'Cannot log in: the rule of this OIDC token does not allow it', {
        hint: 'Rules of people need "login": true',
      })
    const cookie = base64urlEncode(this.#context.random(32))
    const now = this.#context.clock()
    const value: StoredSession = {
      actor,
      claims,
      started_ms: now,
      expires_ms: Math.min(now + SESSION_MS, expiresMs),
    }
    await this.#context.metadata.transaction([], (records) => sessions.put(records, { key: keyOf(cookie), value }))
    const maxAge = Math.max(0, Math.floor((value.expires_ms - now) / 1000))
    return {
      actor,
      cookie:
        `${COOKIE_NAME}=${cookie}; Path=/; HttpOnly; SameSite=Strict; ` +
        `Max-Age=${maxAge}${secure ? '; Secure' : ''}`,
    }
  }

  /** Names of tokens, by actor. */
  namesOf(actors: readonly string[]): Promise<Readonly<Record<string, string>>> {
    return namesOf(this.#context.metadata, actors)
  }

  /** Ends the session of a request; returns the cookie that removes it. */
  async logOut(request: FastifyRequest): Promise<string> {
    const secret = cookieOf(request)
    if (secret !== undefined)
      await this.#context.metadata.transaction([], (records) => sessions.delete(records, keyOf(secret)))
    return `${COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`
  }

  /** Refuses a change that a page of another origin asked for. */
  checkOrigin(request: FastifyRequest): void {
    if (request.method === 'GET' || request.method === 'HEAD') return
    const { origin, host = '' } = request.headers
    const own = this.#publicOrigin === undefined ? [`http://${host}`, `https://${host}`] : [this.#publicOrigin]
    if (origin === undefined || !own.includes(origin))
      throw new ServerError('SRV_ORIGIN', 'The change was asked for by a page of another origin')
  }

  async #bySecret(secret: string): Promise<Holder> {
    const isJwt = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(secret)
    if (isJwt && this.#oidc !== undefined) return this.#oidc.authenticate(secret)
    return { ...(await this.#tokens.authenticate(secret)), mayLogIn: true }
  }

  async #bySession(request: FastifyRequest, secret: string): Promise<Actor> {
    const stored = await sessions.get(this.#context.metadata, keyOf(secret))
    if (stored === undefined || stored.expires_ms <= this.#context.clock())
      throw new ServerError('SRV_AUTH', 'The session has ended: log in again')
    this.checkOrigin(request)
    const { actor, claims } = stored
    // A session ends with what began it: a token that was revoked, a rule that was changed.
    if (actor.name.startsWith(TOKEN_PREFIX)) {
      await this.#tokens.requireValid(actor.name.slice(TOKEN_PREFIX.length))
      return actor
    }
    const holder = claims === undefined ? undefined : this.#oidc?.holderOf(claims)
    if (holder?.mayLogIn !== true) throw new ServerError('SRV_AUTH', 'The session has ended: log in again')
    return holder.actor
  }
}

/** Sessions that have not ended and reach no further than an actor, newest first. */
export async function listSessions(context: ServerContext, viewer: Actor): Promise<SessionView[]> {
  const now = context.clock()
  return (await sessions.all(context.metadata))
    .filter(({ value }) => value.expires_ms > now && covers(viewer, value.actor))
    .toSorted((one, other) => other.value.started_ms - one.value.started_ms)
    .map(({ key, value }) => ({
      id: key.slice(0, ID_LENGTH),
      actor: value.actor.name,
      started_at: timestamp(value.started_ms),
      expires_at: timestamp(value.expires_ms),
    }))
}

/** Ends a session at once; `SRV_NOT_FOUND` when there is none with this id, or it reaches further than `viewer`. */
export async function endSession(context: ServerContext, id: string, caller: Caller, viewer: Actor): Promise<void> {
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    const [found] = await sessions.list(records, { prefix: id, limit: 1 })
    if (found === undefined || id.length !== ID_LENGTH || !covers(viewer, found.value.actor))
      throw new ServerError('SRV_NOT_FOUND', 'There is no such session')
    await sessions.delete(records, found.key)
    await appendAudit(records, context.clock(), {
      ...caller,
      action: 'session.end',
      target: id,
      facts: { actor: found.value.actor.name },
    })
  })
}

/** Forgets sessions that have ended. */
export async function sweepSessions(context: ServerContext): Promise<void> {
  const now = context.clock()
  const ended = (await sessions.all(context.metadata)).filter(({ value }) => value.expires_ms <= now)
  if (ended.length === 0) return
  await context.metadata.transaction([], (writer) => sessions.delete(writer, ...ended.map(({ key }) => key)))
}
