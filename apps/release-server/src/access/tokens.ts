import { timestamp } from '../time.ts'
import { timingSafeEqual } from 'node:crypto'
import { base64urlEncode, hexDecode, hexEncode, sha256, utf8Encode, z32Encode } from '@keyturn/primitives'
import type { Clock, JsonObject, RandomSource } from '@keyturn/primitives'
import { scopes } from '@keyturn/release-client'
import type { NewToken, Scope, TokenView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import { ServerError } from '../errors.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'

/** Who makes a call, and what it may do. */
export interface Actor {
  /** As the audit log shows it: `token:<id>`, `oidc:<subject>`, `local`. */
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly products: readonly string[]
  readonly channels: readonly string[]
}

/** Days a token may live at most. */
export const maxTokenDays = 400

const form = /^m2t_([a-z0-9]{16})_([A-Za-z0-9_-]{43})$/
/** Compared with when an id is unknown, so that unknown and wrong take the same time. */
const nobody = new Uint8Array(32)

interface StoredToken extends Omit<TokenView, 'id'> {
  readonly secret_sha256: string
}

/** Parts of the server that creating and checking tokens needs. */
export interface TokenDependencies {
  readonly metadata: MetadataStore
  readonly clock: Clock
  readonly random: RandomSource
}

function checkNewToken(token: NewToken): void {
  const days = token.days ?? 90
  if (!Number.isInteger(days) || days < 1 || days > maxTokenDays) {
    throw new ServerError('SRV_REQUEST', `Cannot create a token for ${days} days: 1 to ${maxTokenDays} are allowed`)
  }
  if (token.scopes.length === 0) throw new ServerError('SRV_REQUEST', 'Cannot create a token without a scope')
  const unknown = token.scopes.find((scope) => !scopes.includes(scope))
  if (unknown !== undefined) {
    throw new ServerError('SRV_REQUEST', `Cannot create a token with scope "${unknown}": there is none of that name`, {
      hint: `Scopes: ${scopes.join(', ')}`,
    })
  }
}

/**
 * Creates a token. Only the SHA-256 of its secret is stored; the secret itself (`m2t_<id>_<secret>`, a form that
 * secret scanners can find) is in the answer, this once.
 *
 * @param actor - Who creates it, for the audit log.
 * @throws ServerError `SRV_REQUEST` for scopes or days that do not exist.
 */
export async function createToken(
  dependencies: TokenDependencies,
  token: NewToken,
  actor: string,
  requestId: string,
): Promise<{ token: TokenView; secret: string }> {
  checkNewToken(token)
  const { metadata, clock, random } = dependencies
  const id = z32Encode(random(10))
  const secret = base64urlEncode(random(32))
  const now = clock()
  const stored: StoredToken = {
    name: token.name,
    scopes: [...token.scopes],
    products: [...(token.products ?? [])],
    channels: [...(token.channels ?? [])],
    created_at: timestamp(now),
    expires_at: timestamp(now + (token.days ?? 90) * 86_400_000),
    last_used_at: null,
    revoked_at: null,
    secret_sha256: hexEncode(sha256(utf8Encode(secret))),
  }
  await metadata.transaction([auditLock], async (records) => {
    await records.put('tokens', { key: id, value: stored as unknown as JsonObject })
    await appendAudit(records, now, {
      actor,
      requestId,
      action: 'token.create',
      target: id,
      facts: { name: token.name, scopes: token.scopes.join(' ') },
    })
  })
  return { token: view(id, stored), secret: `m2t_${id}_${secret}` }
}

function view(id: string, stored: StoredToken): TokenView {
  const { secret_sha256: _hidden, ...shown } = stored
  return { id, ...shown }
}

/** All tokens, without secrets. */
export async function listTokens(metadata: MetadataStore): Promise<TokenView[]> {
  const records = await metadata.list('tokens')
  return records.map(({ key, value }) => view(key, value as unknown as StoredToken))
}

/** Revokes a token; `SRV_NOT_FOUND` when there is none of that id. */
export async function revokeToken(
  dependencies: TokenDependencies,
  id: string,
  actor: string,
  requestId: string,
): Promise<void> {
  const now = dependencies.clock()
  await dependencies.metadata.transaction([auditLock], async (records) => {
    const found = await records.get('tokens', id)
    if (found === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such token')
    const stored = found.value as unknown as StoredToken
    if (stored.revoked_at !== null) return
    await records.put('tokens', { key: id, value: { ...stored, revoked_at: timestamp(now) } as unknown as JsonObject })
    await appendAudit(records, now, { actor, requestId, action: 'token.revoke', target: id })
  })
}

/** How exact `last_used_at` is: writing it on every call would cost a durable write each. */
const lastUsedStepMs = 10 * 60_000

/** Checks the tokens of requests. */
export class TokenChecker {
  readonly #dependencies: TokenDependencies

  constructor(dependencies: TokenDependencies) {
    this.#dependencies = dependencies
  }

  /**
   * Tells who holds a token.
   *
   * @throws ServerError `SRV_AUTH`, one answer for missing, malformed, unknown, wrong, expired and revoked.
   */
  async authenticate(authorization: string | undefined): Promise<Actor> {
    const [, text = ''] = /^Bearer ([\x21-\x7e]{1,200})$/i.exec(authorization ?? '') ?? []
    return this.authenticateSecret(text)
  }

  /** The same for a bare secret. */
  async authenticateSecret(text: string): Promise<Actor> {
    const [, id = '', secret = ''] = form.exec(text) ?? []
    const found = id === '' ? undefined : await this.#dependencies.metadata.get('tokens', id)
    const stored = found?.value as unknown as StoredToken | undefined
    const given = sha256(utf8Encode(secret))
    const same = timingSafeEqual(given, stored === undefined ? nobody : hexDecode(stored.secret_sha256))
    const now = this.#dependencies.clock()
    if (stored === undefined || !same || stored.revoked_at !== null || Date.parse(stored.expires_at) <= now) {
      throw new ServerError('SRV_AUTH', 'The token is missing, unknown, expired or revoked')
    }
    await this.#noteUse(id, stored, now)
    return { name: `token:${id}`, scopes: stored.scopes, products: stored.products, channels: stored.channels }
  }

  /** Throws `SRV_AUTH` unless the token of this id is neither revoked nor expired. */
  async requireValid(id: string): Promise<void> {
    const stored = (await this.#dependencies.metadata.get('tokens', id))?.value as unknown as StoredToken | undefined
    if (
      stored === undefined ||
      stored.revoked_at !== null ||
      Date.parse(stored.expires_at) <= this.#dependencies.clock()
    ) {
      throw new ServerError('SRV_AUTH', 'The token behind this session was revoked or has expired')
    }
  }

  async #noteUse(id: string, stored: StoredToken, now: number): Promise<void> {
    if (stored.last_used_at !== null && now - Date.parse(stored.last_used_at) < lastUsedStepMs) return
    await this.#dependencies.metadata.transaction([], async (records) => {
      const fresh = (await records.get('tokens', id))?.value as unknown as StoredToken | undefined
      if (fresh !== undefined)
        await records.put('tokens', {
          key: id,
          value: { ...fresh, last_used_at: timestamp(now) } as unknown as JsonObject,
        })
    })
  }
}

/** Whether an actor has a scope. */
export function hasScope(actor: Actor, scope: Scope): boolean {
  return actor.scopes.includes(scope) || actor.scopes.includes('admin')
}

/** Whether an actor may see a product, and a channel of it. */
export function maySee(actor: Actor, product: string, channel?: string): boolean {
  const productAllowed = actor.products.length === 0 || actor.products.includes(product)
  return productAllowed && (channel === undefined || actor.channels.length === 0 || actor.channels.includes(channel))
}
