import { timingSafeEqual } from 'node:crypto'
import { base64urlEncode, hexDecode, sha256, sha256Hex, utf8Encode, z32Encode } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import { scopes } from '@keyturn/release-client'
import type { NewToken, Scope, TokenView } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import type { MetadataStore, RecordReader } from '../storage/metadata-store.ts'
import { listOf, nullable, object, oneOf, optional, text, whole } from '../storage/shape.ts'
import { timestamp } from '../time.ts'
import { covers, hasScope, isLimited } from './actor.ts'
import type { Actor } from './actor.ts'
import type { Caller } from './caller.ts'

/** Most days a token may live. */
export const MAX_TOKEN_DAYS = 400
const DEFAULT_TOKEN_DAYS = 90
const DAY_MS = 86_400_000

const TOKEN_FORM = /^m2t_([a-z0-9]{16})_([A-Za-z0-9_-]{43})$/
/** Compared with when an id is unknown, so that unknown and wrong take the same time. */
const NOBODY = new Uint8Array(32)

interface StoredToken extends Omit<TokenView, 'id'> {
  readonly secret_sha256: string
}

const tokens = collection(
  'tokens',
  object<StoredToken>({
    name: text,
    scopes: listOf(oneOf<Scope>(...scopes)),
    products: listOf(text),
    channels: listOf(text),
    created_at: text,
    expires_at: text,
    last_used_at: nullable(text),
    revoked_at: nullable(text),
    secret_sha256: text,
    upload_quota: optional(whole),
  }),
)

/** Parts of the server that creating and checking tokens needs. */
export interface TokenDependencies {
  readonly metadata: MetadataStore
  readonly clock: Clock
  readonly random: RandomSource
}

function checkNewToken(token: NewToken): void {
  const days = token.days ?? DEFAULT_TOKEN_DAYS
  if (!Number.isInteger(days) || days < 1 || days > MAX_TOKEN_DAYS) {
    throw new ServerError('SRV_REQUEST', `Cannot create a token for ${days} days: expected 1 to ${MAX_TOKEN_DAYS}`)
  }
  const { upload_quota: quota } = token
  if (quota !== undefined && (!Number.isSafeInteger(quota) || quota < 0))
    throw new ServerError('SRV_REQUEST', 'Cannot create a token: its upload quota has to be a number of bytes')
  if (token.scopes.length === 0) throw new ServerError('SRV_REQUEST', 'Cannot create a token without a scope')
  const unknown = token.scopes.find((scope) => !scopes.includes(scope))
  if (unknown !== undefined) {
    throw new ServerError('SRV_REQUEST', `Cannot create a token with scope "${unknown}": there is no such scope`, {
      hint: `Scopes: ${scopes.join(', ')}`,
    })
  }
}

/**
 * Creates a token. Only the SHA-256 of its secret is stored; the secret itself (`m2t_<id>_<secret>`, a form that
 * secret scanners can find) is in the answer, this once.
 *
 * @param caller - Who creates it, for the audit log.
 * @throws ServerError `SRV_REQUEST` for scopes or days that do not exist.
 */
export async function createToken(
  dependencies: TokenDependencies,
  token: NewToken,
  caller: Caller,
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
    expires_at: timestamp(now + (token.days ?? DEFAULT_TOKEN_DAYS) * DAY_MS),
    last_used_at: null,
    revoked_at: null,
    secret_sha256: sha256Hex(utf8Encode(secret)),
    upload_quota: token.upload_quota,
  }
  await metadata.transaction([AUDIT_LOCK], async (records) => {
    await tokens.put(records, { key: id, value: stored })
    await appendAudit(records, now, {
      ...caller,
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

/** Tokens that reach no further than an actor, without secrets; all of them without an actor. */
export async function listTokens(metadata: MetadataStore, actor?: Actor): Promise<TokenView[]> {
  return (await tokens.all(metadata))
    .filter(({ value }) => actor === undefined || covers(actor, value))
    .map(({ key, value }) => view(key, value))
}

/**
 * Refuses a token that could do more than the one who makes it.
 *
 * @throws ServerError `SRV_SCOPE`.
 */
export function checkGiven(actor: Actor, token: NewToken): void {
  const missing = token.scopes.find((scope) => !hasScope(actor, scope))
  if (missing !== undefined)
    throw new ServerError('SRV_SCOPE', `Cannot create a token with scope ${missing}: your own token does not have it`)
  if (!covers(actor, { products: token.products ?? [], channels: token.channels ?? [] }))
    throw new ServerError('SRV_SCOPE', 'Cannot create a token that reaches further than your own', {
      hint: `Limit it to products and channels of yours: ${[...actor.products, ...actor.channels].join(', ')}`,
    })
  // A quota counts for each token by itself: with a second one it would be none.
  if (actor.uploadQuota !== undefined)
    throw new ServerError('SRV_SCOPE', 'Cannot create a token with one that has an upload quota')
}

const TOKEN_PREFIX = 'token:'

/**
 * The days of a token that a limited administrator makes with a token of their own: no more than that one has left, so
 * that a stolen one does not outlive itself. Everyone else chooses freely.
 *
 * @returns Days; undefined for the default.
 * @throws ServerError `SRV_SCOPE`.
 */
export async function daysGiven(
  { metadata, clock }: Pick<TokenDependencies, 'metadata' | 'clock'>,
  actor: Actor,
  days: number | undefined,
): Promise<number | undefined> {
  if (!isLimited(actor) || !actor.name.startsWith(TOKEN_PREFIX)) return days
  const own = await tokens.get(metadata, actor.name.slice(TOKEN_PREFIX.length))
  const left = own === undefined ? 0 : Math.ceil((Date.parse(own.expires_at) - clock()) / DAY_MS)
  if (days !== undefined && days > left)
    throw new ServerError('SRV_SCOPE', `Cannot create a token for ${days} days: your own ends on ${own?.expires_at}`, {
      hint: `Ask for ${left} days at most`,
    })
  return days ?? Math.min(left, DEFAULT_TOKEN_DAYS)
}

/** Names of tokens by the actor that the audit log shows; actors without a token have none. */
export async function namesOf(
  records: RecordReader,
  actors: Iterable<string>,
): Promise<Readonly<Record<string, string>>> {
  const ids = new Set<string>()
  for (const actor of actors) if (actor.startsWith(TOKEN_PREFIX)) ids.add(actor.slice(TOKEN_PREFIX.length))
  if (ids.size === 0) return {}
  const found = await tokens.getMany(records, [...ids])
  return Object.fromEntries(found.map(({ key, value }) => [TOKEN_PREFIX + key, value.name]))
}

/**
 * Revokes a token; `SRV_NOT_FOUND` when there is none with this id, or it reaches further than `actor`, if there is
 * one.
 */
export async function revokeToken(
  dependencies: TokenDependencies,
  id: string,
  caller: Caller,
  actor?: Actor,
): Promise<void> {
  const now = dependencies.clock()
  await dependencies.metadata.transaction([AUDIT_LOCK], async (records) => {
    const stored = await tokens.get(records, id)
    if (stored === undefined || (actor !== undefined && !covers(actor, stored)))
      throw new ServerError('SRV_NOT_FOUND', 'There is no such token')
    if (stored.revoked_at !== null) return
    await tokens.put(records, { key: id, value: { ...stored, revoked_at: timestamp(now) } })
    await appendAudit(records, now, { ...caller, action: 'token.revoke', target: id, facts: { name: stored.name } })
  })
}

/** How exact `last_used_at` is: writing it on every call would cost a durable write each. */
const LAST_USED_STEP_MS = 10 * 60_000

/** Checks the tokens of requests. */
export class TokenChecker {
  readonly #dependencies: TokenDependencies

  constructor(dependencies: TokenDependencies) {
    this.#dependencies = dependencies
  }

  /**
   * Tells who holds a token.
   *
   * @param secret - The bare token, `m2t_<id>_<secret>`; anything else is refused as an unknown token is.
   * @throws ServerError `SRV_AUTH`, one answer for missing, malformed, unknown, wrong, expired and revoked.
   */
  async authenticate(secret: string): Promise<{ readonly actor: Actor; readonly expiresMs: number }> {
    const [, id = '', secretPart = ''] = TOKEN_FORM.exec(secret) ?? []
    const stored = id === '' ? undefined : await tokens.get(this.#dependencies.metadata, id)
    const given = sha256(utf8Encode(secretPart))
    const same = timingSafeEqual(given, stored === undefined ? NOBODY : hexDecode(stored.secret_sha256))
    const now = this.#dependencies.clock()
    if (stored === undefined || !same || !isValid(stored, now))
      throw new ServerError('SRV_AUTH', 'The token is missing, unknown, expired or revoked')
    await this.#noteUse(id, stored, now)
    return {
      actor: {
        name: `token:${id}`,
        scopes: stored.scopes,
        products: stored.products,
        channels: stored.channels,
        uploadQuota: stored.upload_quota,
      },
      expiresMs: Date.parse(stored.expires_at),
    }
  }

  /** Throws `SRV_AUTH` unless the token with this id is neither revoked nor expired. */
  async requireValid(id: string): Promise<void> {
    const stored = await tokens.get(this.#dependencies.metadata, id)
    if (stored === undefined || !isValid(stored, this.#dependencies.clock()))
      throw new ServerError('SRV_AUTH', 'The token of this session was revoked or has expired')
  }

  async #noteUse(id: string, stored: StoredToken, now: number): Promise<void> {
    if (stored.last_used_at !== null && now - Date.parse(stored.last_used_at) < LAST_USED_STEP_MS) return
    await this.#dependencies.metadata.transaction([], async (records) => {
      const fresh = await tokens.get(records, id)
      if (fresh !== undefined) await tokens.put(records, { key: id, value: { ...fresh, last_used_at: timestamp(now) } })
    })
  }
}

/** Whether a secret is that of a stored token, which may have expired or been revoked. */
export async function isStoredToken(records: RecordReader, secret: string): Promise<boolean> {
  return (await storedToken(records, secret)) !== undefined
}

/** When a token ends or ended, in Unix milliseconds; undefined for one that is unknown or revoked. */
export async function tokenExpiry(records: RecordReader, secret: string): Promise<number | undefined> {
  const stored = await storedToken(records, secret)
  return stored === undefined || stored.revoked_at !== null ? undefined : Date.parse(stored.expires_at)
}

async function storedToken(records: RecordReader, secret: string): Promise<StoredToken | undefined> {
  const [, id = '', secretPart = ''] = TOKEN_FORM.exec(secret) ?? []
  const stored = id === '' ? undefined : await tokens.get(records, id)
  if (stored === undefined) return undefined
  return timingSafeEqual(sha256(utf8Encode(secretPart)), hexDecode(stored.secret_sha256)) ? stored : undefined
}

function isValid(stored: StoredToken, now: number): boolean {
  return stored.revoked_at === null && Date.parse(stored.expires_at) > now
}
