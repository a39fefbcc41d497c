import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Scope } from '@keyturn/release-client'
import type { Actor } from '../access/actor.ts'
import type { Caller } from '../access/caller.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the authentication hook on every route with a scope. */
    actor: Actor | null
  }
  interface FastifyContextConfig {
    /** Scope a caller needs; absent: anybody. */
    scope?: Scope
    /** Uploads answer with codes of their own, and are not counted. */
    upload?: boolean
    /** Shown in the OpenAPI document. */
    summary?: string
    /** Which limit counts requests without a scope; default `public`. */
    rate?: 'public' | 'login' | 'reports' | 'witness' | 'attest' | 'noise' | 'cosign' | 'none'
    /** Bytes of a body that count as one request; default: a request counts once. */
    bytesPerRequest?: number
    /** The handler checks the limits of a token itself; default: the guard refuses calls that reach beyond them. */
    reach?: 'checked'
    /** Whether an `Idempotency-Key` is honored; default: for POST with a scope. */
    idempotent?: boolean
    /** Media type of the body for the OpenAPI document where it is not JSON. */
    bodyType?: string
    /** Answers of the OpenAPI document: status to description. */
    answers?: Readonly<Record<string, string>>
  }
}

/** The caller of a route with a scope. */
export function actorOf(request: FastifyRequest): Actor {
  if (request.actor === null) throw new TypeError('Cannot name the caller of a route without a scope')
  return request.actor
}

/** Who asked, for the audit log. */
export function callerOf(request: FastifyRequest): Caller {
  return { actor: actorOf(request).name, requestId: request.id }
}

/** JSON schema of an object with these members, all required unless named in `optional`. */
export function objectSchema(properties: Readonly<Record<string, object>>, optional: readonly string[] = []): object {
  return {
    type: 'object',
    additionalProperties: false,
    required: Object.keys(properties).filter((name) => !optional.includes(name)),
    properties,
  }
}

/** Schemas of recurring members. */
export const SCHEMAS = {
  sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
  slug: { type: 'string', pattern: '^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$' },
  version: { type: 'string', minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$' },
  base64: { type: 'string', maxLength: 12 * 1024 * 1024, pattern: '^[A-Za-z0-9+/]*={0,2}$' },
  text: { type: 'string', maxLength: 1024 },
} as const

/** A whole number in a query string, where everything is text. */
export const QUERY_NUMBER = { type: 'string', pattern: '^(?:0|[1-9][0-9]{0,14})$' } as const

/** How many items a page holds: what was asked for, 1 to 1000, 100 by default. */
export function pageLimit(asked: string | undefined): number {
  return Math.min(1000, Math.max(1, Number(asked ?? 100)))
}

/** Sends JSON. */
export function sendJson(reply: FastifyReply, status: number, body: unknown): FastifyReply {
  return reply.code(status).header('cache-control', 'no-store').type('application/json').send(JSON.stringify(body))
}
