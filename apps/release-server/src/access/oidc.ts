import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import { scopes } from '@keyturn/release-client'
import type { Scope } from '@keyturn/release-client'
import { ServerError } from '../errors.ts'
import type { Actor } from './tokens.ts'

/** What holders of certain claims may do. All named claims have to fit; `*` at the end of a value stands for anything. */
export interface OidcRule {
  readonly claims: Readonly<Record<string, string>>
  readonly scopes: readonly Scope[]
  readonly products?: readonly string[]
  readonly channels?: readonly string[]
}

/** How OIDC tokens are accepted. */
export interface OidcSettings {
  readonly issuer: string
  readonly audience: string
  readonly rules: readonly OidcRule[]
  readonly fetch?: typeof fetch
  readonly clock?: () => number
}

/** Reads rules from their file; `SRV_CONFIG` for what is no rule. */
export function parseOidcRules(text: string): OidcRule[] {
  const parsed: unknown = JSON.parse(text)
  if (!Array.isArray(parsed)) throw new ServerError('SRV_CONFIG', 'Cannot use the OIDC rules: an array is due')
  return parsed.map((rule: unknown, at) => {
    const { claims, scopes: given, products, channels } = rule as Partial<OidcRule>
    const fine =
      typeof claims === 'object' &&
      claims !== null &&
      Object.keys(claims).length > 0 &&
      Object.values(claims).every((value) => typeof value === 'string' && value !== '*') &&
      Array.isArray(given) &&
      given.every((scope) => scopes.includes(scope as Scope))
    if (!fine)
      throw new ServerError(
        'SRV_CONFIG',
        `Cannot use OIDC rule ${at + 1}: claims (none of them just "*") and known scopes are due`,
      )
    return {
      claims,
      scopes: given as Scope[],
      ...(products === undefined ? {} : { products }),
      ...(channels === undefined ? {} : { channels }),
    }
  })
}

function fits(claims: JWTPayload, rule: OidcRule): boolean {
  return Object.entries(rule.claims).every(([name, wanted]) => {
    const value = claims[name]
    if (typeof value !== 'string') return false
    return wanted.endsWith('*') ? value.startsWith(wanted.slice(0, -1)) : value === wanted
  })
}

/** Accepts tokens of one OIDC issuer: of people who log in, and of CI jobs. */
export class OidcChecker {
  readonly #settings: OidcSettings
  #keys: Promise<JWTVerifyGetKey> | undefined

  constructor(settings: OidcSettings) {
    this.#settings = settings
  }

  /**
   * Tells who holds a token. The first rule that fits decides.
   *
   * @throws ServerError `SRV_AUTH`; `SRV_UNAVAILABLE` when the issuer cannot be reached.
   */
  async authenticate(token: string): Promise<Actor> {
    const { issuer, audience, rules, clock = Date.now } = this.#settings
    const claims = await this.#verify(token, {
      issuer,
      audience,
      currentDate: new Date(clock()),
      algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      requiredClaims: ['sub', 'exp', 'iat'],
      maxTokenAge: '1 day',
    })
    const rule = rules.find((candidate) => fits(claims, candidate))
    if (rule === undefined) throw new ServerError('SRV_AUTH', 'No rule gives the holder of this token anything')
    return {
      name: `oidc:${claims.sub ?? ''}`.slice(0, 200),
      scopes: rule.scopes,
      products: rule.products ?? [],
      channels: rule.channels ?? [],
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
