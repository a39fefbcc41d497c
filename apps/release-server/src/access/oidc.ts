import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import { parseStrictJson, sha256Hex, utf8Encode } from '@keyturn/primitives'
import { scopes } from '@keyturn/release-client'
import type { Scope } from '@keyturn/release-client'
import { ServerError } from '../errors.ts'
import { isSlug } from '../public/paths.ts'
import { exactly, flag, listOf, mapOf, oneOf, optional, ShapeError, text } from '../storage/shape.ts'
import type { Shape } from '../storage/shape.ts'
import type { Actor } from './actor.ts'

/**
 * What holders of certain claims may do. All named claims have to match; `*` at the end of a value stands for anything.
 */
export interface OidcRule {
  readonly claims: Readonly<Record<string, string>>
  readonly scopes: readonly Scope[]
  /** Slugs, or `*` alone for every product; default: every product. */
  readonly products?: readonly string[] | undefined
  /** Names, or `*` alone for every channel; default: every channel. */
  readonly channels?: readonly string[] | undefined
  /** Whether the holder is a person who may log in to the dashboard; default false: a job gets no session. */
  readonly login?: boolean | undefined
}

/** How OIDC tokens are accepted. */
export interface OidcSettings {
  readonly issuer: string
  readonly audience: string
  readonly rules: readonly OidcRule[]
  readonly fetch?: typeof fetch | undefined
  readonly clock?: (() => number) | undefined
}

/**
 * The claims of a verified token that rules can name, kept with a session so that rules decide again at each request.
 */
export type OidcClaims = Readonly<Record<string, string>>

/** The holder of a verified OIDC token. */
export interface OidcHolder {
  readonly actor: Actor
  readonly claims: OidcClaims
  readonly expiresMs: number
  readonly mayLogIn: boolean
}

const EVERYTHING = '*'

/** A list of names, or `*` alone; text or an empty list is a mistake and never "everything". */
const limits: Shape<readonly string[]> = (value, place) => {
  const names = listOf(text)(value, place)
  const everything = names.length === 1 && names[0] === EVERYTHING
  if (names.length === 0 || (!everything && !names.every(isSlug)))
    throw new ShapeError(place, 'a list of names, or ["*"] for all')
  return names
}

const claims: Shape<Readonly<Record<string, string>>> = (value, place) => {
  const named = mapOf(text)(value, place)
  const values = Object.values(named)
  if (values.length === 0 || values.some((each) => each === '' || each === EVERYTHING))
    throw new ShapeError(place, 'an object of claims with values, none of them just "*"')
  return named
}

const rule = exactly<OidcRule>({
  claims,
  scopes: (value, place) => {
    const given = listOf(oneOf<Scope>(...scopes))(value, place)
    if (given.length === 0) throw new ShapeError(place, 'a list of at least one scope')
    return given
  },
  products: optional(limits),
  channels: optional(limits),
  login: optional(flag),
})

/**
 * Reads rules from their file: strict JSON, without unknown members, so that a typing error never widens a rule.
 *
 * @throws ServerError `SRV_CONFIG` naming the rule and the member.
 */
export function parseOidcRules(content: string): OidcRule[] {
  try {
    return [...listOf(rule)(parseStrictJson(utf8Encode(content)), '')]
  } catch (cause) {
    throw new ServerError(
      'SRV_CONFIG',
      `Cannot use the OIDC rules: ${cause instanceof ShapeError ? cause.message : 'the file is not strict JSON'}`,
      { cause, hint: 'A rule is {"claims", "scopes", "products"?, "channels"?, "login"?}; ["*"] stands for all' },
    )
  }
}

function matches(held: OidcClaims, wanted: OidcRule): boolean {
  return Object.entries(wanted.claims).every(([name, expected]) => {
    const value = Object.hasOwn(held, name) ? held[name] : undefined
    if (value === undefined) return false
    return expected.endsWith(EVERYTHING) ? value.startsWith(expected.slice(0, -1)) : value === expected
  })
}

/** Two holders never have one name, however long their subjects are: uploads and limits of rates belong to it. */
function actorName(subject: string): string {
  const name = `oidc:${subject}`
  return name.length <= 200 ? name : `${name.slice(0, 135)}…${sha256Hex(utf8Encode(subject))}`
}

function limitOf(names: readonly string[] | undefined): readonly string[] {
  return names === undefined || names[0] === EVERYTHING ? [] : names
}

/** The claims that rules name; others, such as mail addresses, are not kept. */
function namedClaims(payload: JWTPayload, rules: readonly OidcRule[]): OidcClaims {
  const named = new Set(['iss', 'sub', ...rules.flatMap((each) => Object.keys(each.claims))])
  return Object.fromEntries(
    Object.entries(payload).filter(
      (entry): entry is [string, string] => named.has(entry[0]) && typeof entry[1] === 'string',
    ),
  )
}

/** Accepts tokens of one OIDC issuer: of people who log in, and of CI jobs. */
export class OidcChecker {
  readonly #settings: OidcSettings
  #keys: Promise<JWTVerifyGetKey> | undefined

  constructor(settings: OidcSettings) {
    this.#settings = settings
  }

  /**
   * Tells who holds a token. The first rule that matches decides.
   *
   * @throws ServerError `SRV_AUTH`; `SRV_UNAVAILABLE` when the issuer cannot be reached.
   */
  async authenticate(token: string): Promise<OidcHolder> {
    const { issuer, audience, rules, clock = Date.now } = this.#settings
    const payload = await this.#verify(token, {
      issuer,
      audience,
      currentDate: new Date(clock()),
      algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      requiredClaims: ['sub', 'exp', 'iat'],
      maxTokenAge: '1 day',
    })
    const held = namedClaims(payload, rules)
    const { actor, mayLogIn } = this.holderOf(held)
    return { actor, mayLogIn, claims: held, expiresMs: (payload.exp ?? 0) * 1000 }
  }

  /**
   * What the current rules give the holder of claims that were verified before.
   *
   * @throws ServerError `SRV_AUTH` when no rule matches.
   */
  holderOf(held: OidcClaims): { readonly actor: Actor; readonly mayLogIn: boolean } {
    const { issuer, rules } = this.#settings
    const found = held['iss'] === issuer ? rules.find((candidate) => matches(held, candidate)) : undefined
    if (found === undefined) throw new ServerError('SRV_AUTH', 'No rule gives the holder of this token anything')
    return {
      mayLogIn: found.login === true,
      actor: {
        name: actorName(held['sub'] ?? ''),
        scopes: found.scopes,
        products: limitOf(found.products),
        channels: limitOf(found.channels),
      },
    }
  }

  async #verify(token: string, options: Parameters<typeof jwtVerify>[2]): Promise<JWTPayload> {
    this.#keys ??= this.#discover()
    const keys = await this.#keys.catch((cause: unknown) => {
      this.#keys = undefined
      throw new ServerError('SRV_UNAVAILABLE', 'The issuer of OIDC tokens does not answer', { cause })
    })
    try {
      return (await jwtVerify(token, keys, options)).payload
    } catch (error) {
      const unreachable = error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)
      throw unreachable
        ? new ServerError('SRV_UNAVAILABLE', 'The issuer of OIDC tokens does not answer', { cause: error })
        : new ServerError('SRV_AUTH', 'The OIDC token is not valid', { cause: error })
    }
  }

  async #discover(): Promise<JWTVerifyGetKey> {
    const { issuer } = this.#settings
    const answer = await (this.#settings.fetch ?? fetch)(
      `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
      { signal: AbortSignal.timeout(5000) },
    )
    const { jwks_uri: uri, issuer: named } = (await answer.json()) as { jwks_uri?: string; issuer?: string }
    if (named !== issuer || uri === undefined) throw new Error('The issuer describes itself under another name')
    return createRemoteJWKSet(new URL(uri), { timeoutDuration: 5000 })
  }
}
