import type { FastifyInstance, RouteOptions } from 'fastify'
import { scopes } from '@keyturn/release-client'

type JsonObject = Record<string, unknown>

interface Described {
  readonly method: string
  readonly path: string
  readonly operation: JsonObject
}

/** `/v1/x/:c(^[a-z]+)::halt` in the notation of OpenAPI: `/v1/x/{c}:halt`. */
export function openApiPath(url: string): string {
  const [path = '', action] = url.split('::')
  const named = path.replace(/:([A-Za-z0-9]+)(\(\^?[^)]*\))?(?=\/|$)/g, '{$1}')
  return action === undefined ? named : `${named}:${action}`
}

const problem = {
  description: 'RFC 9457 problem with a code',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}

function parametersOf(route: RouteOptions): JsonObject[] {
  const schema = route.schema as { params?: JsonObject; querystring?: JsonObject } | undefined
  const path = [...openApiPath(route.url).matchAll(/\{([A-Za-z0-9]+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: (schema?.params?.['properties'] as JsonObject | undefined)?.[name] ?? { type: 'string' },
  }))
  const query = schema?.querystring as { properties?: JsonObject; required?: string[] } | undefined
  const fromQuery = Object.entries(query?.properties ?? {}).map(([name, value]) => ({
    name,
    in: 'query',
    required: query?.required?.includes(name) ?? false,
    schema: value,
  }))
  return [...path, ...fromQuery]
}

function operationOf(route: RouteOptions, method: string): Described {
  const { summary = '', scope, bodyType, answers } = route.config ?? {}
  const body = (route.schema as { body?: JsonObject } | undefined)?.body
  const content =
    body !== undefined
      ? { 'application/json': { schema: body } }
      : bodyType !== undefined && method !== 'GET'
        ? { [bodyType]: { schema: { type: 'string', format: 'binary' } } }
        : undefined
  const responses = Object.fromEntries(
    Object.entries(answers ?? { '2XX': 'Done' }).map(([status, description]) => [status, { description }]),
  )
  return {
    method: method.toLowerCase(),
    path: openApiPath(route.url),
    operation: {
      summary,
      parameters: parametersOf(route),
      ...(content === undefined ? {} : { requestBody: { required: true, content } }),
      responses: { ...responses, '4XX': problem, '5XX': problem },
      ...(scope === undefined ? { security: [] } : { security: [{ token: [scope] }], 'x-scope': scope }),
    },
  }
}

const PUBLIC_TREE: readonly [string, string][] = [
  ['/manifest.json', 'Manifest of the default product and channel'],
  ['/manifest.json.sig', '64 raw bytes for the original launcher'],
  ['/manifest.sigs.json', 'Signatures of the manifest'],
  ['/head.json', 'Head of the default channel'],
  ['/files/{hh}/{sha256}', 'A blob'],
  ['/manifests/{version}.json', 'Manifest of a version'],
  ['/channels/{channel}/head.json', 'Head of a channel'],
  ['/channels/{channel}/manifest.json', 'Manifest of a channel'],
  ['/channels/{channel}/manifests/{version}.json', 'Manifest of a version on a channel'],
  ['/kel/{prefix}.cesr', 'Key event log'],
  ['/roles/{n}.json', 'Role document'],
]

function publicPaths(): JsonObject {
  return Object.fromEntries(
    PUBLIC_TREE.map(([path, summary]) => {
      const parameters = [...path.matchAll(/\{([a-z0-9]+)\}/g)].map(([, name]) => ({
        name,
        in: 'path',
        required: true,
        schema: { type: 'string' },
      }))
      const responses = {
        200: { description: 'The bytes' },
        206: { description: 'A range' },
        304: { description: 'Unchanged' },
        404: problem,
      }
      return [path, { get: { summary, parameters, responses, security: [] } }]
    }),
  )
}

/** Collects routes as they are added, and answers `/openapi.json` and `/docs` from them. */
export function openApiRoutes(app: FastifyInstance, version: string): void {
  const described: Described[] = []
  app.addHook('onRoute', (route) => {
    if (route.config?.summary === undefined) return
    for (const method of [route.method].flat())
      if (method !== 'HEAD' && method !== 'OPTIONS') described.push(operationOf(route, method))
  })
  const document = (): JsonObject => {
    const paths: Record<string, JsonObject> = publicPaths() as Record<string, JsonObject>
    for (const { method, path, operation } of described) paths[path] = { ...paths[path], [method]: operation }
    return {
      openapi: '3.1.0',
      info: { title: 'Keyturn release server', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      paths,
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: `Token m2t_<id>_<secret> or OIDC token. Scopes: ${scopes.join(', ')}`,
          },
        },
        schemas: {
          Problem: {
            type: 'object',
            required: ['type', 'title', 'status', 'code', 'request_id'],
            properties: {
              type: { type: 'string', format: 'uri' },
              title: { type: 'string' },
              status: { type: 'integer' },
              code: { type: 'string' },
              detail: { type: 'string' },
              request_id: { type: 'string' },
              errors: { type: 'array', items: { type: 'string' } },
            },
          },
        },
      },
    }
  }
  app.get('/openapi.json', { config: { rate: 'public', summary: 'This description' } }, async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=300').type('application/json').send(JSON.stringify(document())),
  )
}
