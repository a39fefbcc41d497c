import { diffManifests, parseManifest } from '@keyturn/manifest'
import { base64Decode, collectBytes } from '@keyturn/primitives'
import type { FastifyInstance } from 'fastify'
import type { ReleaseDiffView } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { MAX_MANIFEST_BYTES } from '../limits.ts'
import { productLock } from '../releases/products.ts'
import {
  createRelease,
  discardDraft,
  putRelease,
  readManifestBytes,
  readRelease,
  releases,
} from '../releases/releases.ts'
import { renewSignatures } from '../releases/renew-signatures.ts'
import { maySee } from '../access/actor.ts'
import { namesOf } from '../access/tokens.ts'
import { addReleaseNote, MAX_NOTE_LENGTH, readReleaseNotes } from '../releases/release-notes.ts'
import { authorityOf, SCHEMAS_OF_AUTHORITY } from './sent-authority.ts'
import { actorOf, objectSchema, pageLimit, QUERY_NUMBER, SCHEMAS, sendJson, callerOf } from '../http/route.ts'

interface ReleaseBody {
  readonly manifest?: string
  readonly manifest_sha256?: string
  readonly signatures: string
  readonly legacy_signature?: string
  readonly log?: string
  readonly roles?: readonly string[]
}

interface ReleaseParams {
  readonly p: string
  readonly c: string
  readonly v: string
}

const releaseParams = { p: SCHEMAS.slug, c: SCHEMAS.slug, v: SCHEMAS.version }

async function manifestOf(
  context: ServerContext,
  { manifest, manifest_sha256: sha256 }: ReleaseBody,
): Promise<Uint8Array> {
  if ((manifest === undefined) === (sha256 === undefined))
    throw new ServerError('SRV_REQUEST', 'Expected either manifest or manifest_sha256')
  if (manifest !== undefined) return base64Decode(manifest)
  return collectBytes(
    await context.blobs.read(sha256 ?? ''),
    MAX_MANIFEST_BYTES,
    (limit) => new ServerError('SRV_LIMIT', `Cannot take this manifest: it is longer than ${limit} bytes`),
  )
}

/** Compares two releases file by file; `bytes` counts new blobs, each once. */
export function compareReleases(
  from: { version: string; manifest: Uint8Array },
  to: { version: string; manifest: Uint8Array },
): ReleaseDiffView {
  const [before, after] = [parseManifest(from.manifest), parseManifest(to.manifest)]
  const diff = diffManifests(before, after)
  const known = new Set(before.files.map((file) => file.sha256))
  let bytes = 0
  for (const file of after.files) {
    if (known.has(file.sha256)) continue
    known.add(file.sha256)
    bytes += file.size
  }
  const files = [
    ...diff.added.map((file) => ({ path: file.path, change: 'added' as const, bytes: file.size })),
    ...diff.changed.map(({ after: file }) => ({ path: file.path, change: 'changed' as const, bytes: file.size })),
    ...diff.removed.map((file) => ({ path: file.path, change: 'removed' as const, bytes: file.size })),
  ]
  return {
    from: from.version,
    to: to.version,
    bytes,
    added: diff.added.length,
    changed: diff.changed.length,
    removed: diff.removed.length,
    unchanged: after.files.length - diff.added.length - diff.changed.length,
    files: files.slice(0, 10_000),
  }
}

/** Routes of releases: drafts, lists, differences, signatures, pins. */
export function releaseRoutes(app: FastifyInstance, context: ServerContext): void {
  draftRoute(app, context)
  listRoute(app, context)
  lookUpRoutes(app, context)
  changeRoutes(app, context)
  discardRoute(app, context)
  noteRoutes(app, context)
}

function draftRoute(app: FastifyInstance, context: ServerContext): void {
  app.post<{ Params: { p: string }; Body: ReleaseBody }>(
    '/v1/products/:p/releases',
    {
      config: {
        scope: 'releases:write',
        reach: 'checked',
        summary: 'Create an immutable draft from a signed manifest whose blobs are stored',
      },
      schema: {
        params: objectSchema({ p: SCHEMAS.slug }),
        body: objectSchema(
          {
            manifest: SCHEMAS.base64,
            manifest_sha256: SCHEMAS.sha256,
            signatures: SCHEMAS.base64,
            legacy_signature: SCHEMAS.base64,
            ...SCHEMAS_OF_AUTHORITY,
          },
          ['manifest', 'manifest_sha256', 'legacy_signature', 'log', 'roles'],
        ),
      },
    },
    async (request, reply) => {
      const { signatures, legacy_signature: legacy } = request.body
      const parts = {
        manifest: await manifestOf(context, request.body),
        signatures: base64Decode(signatures),
        legacySignature: legacy === undefined ? undefined : base64Decode(legacy),
        ...authorityOf(request.body),
      }
      const { p } = request.params
      const { created, view } = await createRelease(context, p, parts, {
        ...callerOf(request),
        mayUse: (channel) => maySee(actorOf(request), p, channel),
      })
      return sendJson(reply, created ? 201 : 200, view)
    },
  )
}

function listRoute(app: FastifyInstance, context: ServerContext): void {
  app.get<{
    Params: { p: string }
    Querystring: { channel?: string; state?: string; cursor?: string; limit?: string }
  }>(
    '/v1/products/:p/releases',
    {
      config: { scope: 'releases:read', reach: 'checked', summary: 'Releases, newest sequence first' },
      schema: {
        params: objectSchema({ p: SCHEMAS.slug }),
        querystring: objectSchema(
          {
            channel: SCHEMAS.slug,
            state: { type: 'string', enum: ['draft', 'published', 'retired'] },
            cursor: SCHEMAS.text,
            limit: QUERY_NUMBER,
          },
          ['channel', 'state', 'cursor', 'limit'],
        ),
      },
    },
    async (request, reply) => {
      const { channel, state, cursor } = request.query
      const limit = pageLimit(request.query.limit)
      const prefix = channel === undefined ? `${request.params.p}/` : `${request.params.p}/${channel}/`
      const found = await releases.list(context.metadata, { prefix, reverse: true, limit: limit + 1, after: cursor })
      const shown = found.slice(0, limit)
      const items = shown
        .map(({ value }) => value)
        .filter(
          (release) =>
            (state === undefined || release.state === state) &&
            maySee(actorOf(request), release.product, release.channel),
        )
      return sendJson(reply, 200, { items, cursor: found.length > limit ? (shown.at(-1)?.key ?? null) : null })
    },
  )
}

function lookUpRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get<{ Params: ReleaseParams }>(
    '/v1/products/:p/channels/:c/releases/:v',
    {
      config: { scope: 'releases:read', summary: 'One release' },
      schema: { params: objectSchema(releaseParams) },
    },
    async (request, reply) =>
      sendJson(reply, 200, await readRelease(context.metadata, request.params.p, request.params.c, request.params.v)),
  )

  app.get<{ Params: ReleaseParams & { w: string } }>(
    '/v1/products/:p/channels/:c/releases/:v/diff/:w',
    {
      config: { scope: 'releases:read', summary: 'What release v costs players who have release w' },
      schema: { params: objectSchema({ ...releaseParams, w: SCHEMAS.version }) },
    },
    async (request, reply) => {
      const { p, c, v, w } = request.params
      const load = async (version: string): Promise<{ version: string; manifest: Uint8Array }> => ({
        version,
        manifest: await readManifestBytes(context, await readRelease(context.metadata, p, c, version)),
      })
      return sendJson(reply, 200, compareReleases(await load(w), await load(v)))
    },
  )
}

function changeRoutes(app: FastifyInstance, context: ServerContext): void {
  app.put<{ Params: ReleaseParams; Body: { signatures: string; legacy_signature?: string } }>(
    '/v1/products/:p/channels/:c/releases/:v/signatures',
    {
      config: { scope: 'releases:write', summary: 'Renew the signatures of a release after a rotation' },
      schema: {
        params: objectSchema(releaseParams),
        body: objectSchema({ signatures: SCHEMAS.base64, legacy_signature: SCHEMAS.base64 }, ['legacy_signature']),
      },
    },
    async (request, reply) => {
      const { p, c, v } = request.params
      const { signatures, legacy_signature: legacy } = request.body
      const renewed = {
        product: p,
        channel: c,
        version: v,
        envelope: base64Decode(signatures),
        legacy: legacy === undefined ? undefined : base64Decode(legacy),
      }
      return sendJson(reply, 200, await renewSignatures(context, renewed, callerOf(request)))
    },
  )

  app.patch<{ Params: ReleaseParams; Body: { pinned: boolean } }>(
    '/v1/products/:p/channels/:c/releases/:v',
    {
      config: { scope: 'releases:write', summary: 'Keep a release whatever its age, or let it go' },
      schema: { params: objectSchema(releaseParams), body: objectSchema({ pinned: { type: 'boolean' } }) },
    },
    async (request, reply) => {
      const { p, c, v } = request.params
      const now = context.clock()
      const view = await context.metadata.transaction([AUDIT_LOCK, productLock(p)], async (records) => {
        const release = { ...(await readRelease(records, p, c, v)), pinned: request.body.pinned }
        await putRelease(records, release)
        await appendAudit(records, now, {
          ...callerOf(request),
          action: 'release.pin',
          target: `${p}/${c}/${v}`,
          facts: { pinned: release.pinned },
        })
        return release
      })
      return sendJson(reply, 200, view)
    },
  )
}

function discardRoute(app: FastifyInstance, context: ServerContext): void {
  app.delete<{ Params: ReleaseParams }>(
    '/v1/products/:p/channels/:c/releases/:v',
    {
      config: { scope: 'releases:write', summary: 'Remove a draft that was never published' },
      schema: { params: objectSchema(releaseParams) },
    },
    async (request, reply) => {
      const { p: product, c: channel, v: version } = request.params
      await discardDraft(context, { product, channel, version }, callerOf(request))
      return reply.code(204).send()
    },
  )
}

function noteRoutes(app: FastifyInstance, context: ServerContext): void {
  const url = '/v1/products/:p/channels/:c/releases/:v/notes'
  const placeOf = ({ p: product, c: channel, v: version }: ReleaseParams) => ({ product, channel, version })
  app.get<{ Params: ReleaseParams }>(
    url,
    {
      config: { scope: 'releases:read', summary: 'What people wrote about a release' },
      schema: { params: objectSchema(releaseParams) },
    },
    async (request, reply) => {
      const items = await readReleaseNotes(context.metadata, placeOf(request.params))
      const names = await namesOf(
        context.metadata,
        items.map(({ by }) => by),
      )
      return sendJson(reply, 200, { items, names, cursor: null })
    },
  )

  app.post<{ Params: ReleaseParams; Body: { text: string } }>(
    url,
    {
      config: { scope: 'rollout:write', summary: 'Write a note about a release; it stays' },
      schema: {
        params: objectSchema(releaseParams),
        body: objectSchema({
          // No control characters but the end of a line.
          text: {
            type: 'string',
            maxLength: MAX_NOTE_LENGTH,
            pattern: '^(?=[^]*\\S)[^\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f]+$',
          },
        }),
      },
    },
    async (request, reply) =>
      sendJson(
        reply,
        201,
        await addReleaseNote(context, placeOf(request.params), request.body.text, callerOf(request)),
      ),
  )
}
