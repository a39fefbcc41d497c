import { diffManifests, parseManifest } from '@keyturn/manifest'
import { base64Decode } from '@keyturn/primitives'
import type { FastifyInstance } from 'fastify'
import type { ReleaseDiffView, ReleaseView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { maxManifestBytes } from '../limits.ts'
import { productLock } from '../releases/products.ts'
import { renewSignatures } from '../releases/publish.ts'
import { createRelease, putRelease, readManifestBytes, readRelease } from '../releases/releases.ts'
import { collect } from '../storage/hashing.ts'
import { maySee } from '../access/tokens.ts'
import { actorOf, objectSchema, pageLimit, queryNumber, schemas, sendJson, callerOf } from '../http/route.ts'

interface ReleaseBody {
  readonly manifest?: string
  readonly manifest_sha256?: string
  readonly signatures: string
  readonly legacy_signature?: string
}

interface ReleaseParams {
  readonly p: string
  readonly c: string
  readonly v: string
}

const releaseParams = { p: schemas.slug, c: schemas.slug, v: schemas.version }

async function manifestOf(
  context: ServerContext,
  { manifest, manifest_sha256: sha256 }: ReleaseBody,
): Promise<Uint8Array> {
  if ((manifest === undefined) === (sha256 === undefined))
    throw new ServerError('SRV_REQUEST', 'Either manifest or manifest_sha256 is due')
  if (manifest !== undefined) return base64Decode(manifest)
  return collect(await context.blobs.read(sha256 ?? ''), maxManifestBytes)
}

/** Compares two releases file by file; `bytes` counts blobs that are new, each once. */
export function compareReleases(
  from: { version: string; manifest: Uint8Array },
  to: { version: string; manifest: Uint8Array },
): ReleaseDiffView {
  const [before, after] = [parseManifest(from.manifest), parseManifest(to.manifest)]
  const diff = diffManifests(before, after)
  const had = new Set(before.files.map((file) => file.sha256))
  let bytes = 0
  for (const file of after.files) {
    if (had.has(file.sha256)) continue
    had.add(file.sha256)
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
  app.post<{ Params: { p: string }; Body: ReleaseBody }>(
    '/v1/products/:p/releases',
    {
      config: {
        scope: 'releases:write',
        summary: 'Create an immutable draft from a signed manifest whose blobs are here',
      },
      schema: {
        params: objectSchema({ p: schemas.slug }),
        body: objectSchema(
          {
            manifest: schemas.base64,
            manifest_sha256: schemas.sha256,
            signatures: schemas.base64,
            legacy_signature: schemas.base64,
          },
          ['manifest', 'manifest_sha256', 'legacy_signature'],
        ),
      },
    },
    async (request, reply) => {
      const { signatures, legacy_signature: legacy } = request.body
      const parts = {
        manifest: await manifestOf(context, request.body),
        signatures: base64Decode(signatures),
        legacySignature: legacy === undefined ? undefined : base64Decode(legacy),
      }
      const { p } = request.params
      const { created, view } = await createRelease(context, p, parts, callerOf(request), (channel) =>
        maySee(actorOf(request), p, channel),
      )
      return sendJson(reply, created ? 201 : 200, view)
    },
  )

  app.get<{
    Params: { p: string }
    Querystring: { channel?: string; state?: string; cursor?: string; limit?: string }
  }>(
    '/v1/products/:p/releases',
    {
      config: { scope: 'releases:read', summary: 'Releases, newest sequence first' },
      schema: {
        params: objectSchema({ p: schemas.slug }),
        querystring: objectSchema(
          {
            channel: schemas.slug,
            state: { type: 'string', enum: ['draft', 'published', 'retired'] },
            cursor: schemas.text,
            limit: queryNumber,
          },
          ['channel', 'state', 'cursor', 'limit'],
        ),
      },
    },
    async (request, reply) => {
      const { channel, state, cursor } = request.query
      const limit = pageLimit(request.query.limit)
      const prefix = channel === undefined ? `${request.params.p}/` : `${request.params.p}/${channel}/`
      const records = await context.metadata.list('releases', {
        prefix,
        reverse: true,
        limit: limit + 1,
        ...(cursor === undefined ? {} : { after: cursor }),
      })
      const shown = records.slice(0, limit)
      const items = shown
        .map(({ value }) => value as unknown as ReleaseView)
        .filter(
          (release) =>
            (state === undefined || release.state === state) &&
            maySee(actorOf(request), release.product, release.channel),
        )
      return sendJson(reply, 200, { items, cursor: records.length > limit ? (shown.at(-1)?.key ?? null) : null })
    },
  )

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
      config: { scope: 'releases:read', summary: 'What release v costs those who have release w' },
      schema: { params: objectSchema({ ...releaseParams, w: schemas.version }) },
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

  app.put<{ Params: ReleaseParams; Body: { signatures: string; legacy_signature?: string } }>(
    '/v1/products/:p/channels/:c/releases/:v/signatures',
    {
      config: { scope: 'releases:write', summary: 'Renew the signatures of a release after a turn' },
      schema: {
        params: objectSchema(releaseParams),
        body: objectSchema({ signatures: schemas.base64, legacy_signature: schemas.base64 }, ['legacy_signature']),
      },
    },
    async (request, reply) => {
      const { p, c, v } = request.params
      const { signatures, legacy_signature: legacy } = request.body
      const fresh = {
        envelope: base64Decode(signatures),
        legacy: legacy === undefined ? undefined : base64Decode(legacy),
      }
      return sendJson(reply, 200, await renewSignatures(context, p, c, v, fresh, callerOf(request)))
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
      const view = await context.metadata.transaction([auditLock, productLock(p)], async (records) => {
        const release: ReleaseView = { ...(await readRelease(records, p, c, v)), pinned: request.body.pinned }
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
