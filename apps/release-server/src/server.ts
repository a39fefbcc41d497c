import { mkdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { systemClock, systemRandom } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import type { FastifyRequest } from 'fastify'
import { createApp, describe } from './app.ts'
import type { NewToken, TokenView } from './api.ts'
import type { ServerContext, ServerLog } from './context.ts'
import { ServerError } from './errors.ts'
import { registerRoutes } from './management/register.ts'
import { silentLog } from './ops/log.ts'
import { RateLimits } from './ops/rate-limit.ts'
import type { RateOptions } from './ops/rate-limit.ts'
import { RequestIds } from './ops/request-ids.ts'
import { ProductDirectory } from './public/directory.ts'
import { DocumentCache } from './public/documents.ts'
import { PublicTree } from './public/handler.ts'
import type { PublicTreeOptions } from './public/handler.ts'
import type { BlobStore } from './storage/blob-store.ts'
import { openFolderBlobStore } from './storage/folder-blob-store.ts'
import type { MetadataStore } from './storage/metadata-store.ts'
import { openSqliteMetadataStore } from './storage/sqlite-metadata-store.ts'
import { createToken, TokenChecker } from './tokens.ts'
import { sweepUploads } from './uploads.ts'

/** Options of {@link createReleaseServer}. */
export interface ReleaseServerOptions {
  /** Folder of the embedded stores; needed unless both `blobs` and `metadata` are given. */
  readonly dataDir?: string
  /** Default: the folder `blobs` in `dataDir`. */
  readonly blobs?: BlobStore
  /** Default: the SQLite file `metadata.sqlite` in `dataDir`. */
  readonly metadata?: MetadataStore
  /** Default `127.0.0.1`. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  readonly rates?: RateOptions
  /** Let the proxy in front send blobs. */
  readonly offload?: PublicTreeOptions['offload']
  /** Default: nothing is logged. */
  readonly log?: ServerLog
  /** How long open requests may take when the server closes, in milliseconds; default 30 000. */
  readonly drainMs?: number
  readonly clock?: Clock
  readonly random?: RandomSource
}

/** A release server in this process. */
export interface ReleaseServer {
  /** Starts to listen. */
  listen(): Promise<{ readonly url: string; readonly port: number }>
  /** Stops: no new requests, open ones end within `drainMs`, then the stores close. */
  close(): Promise<void>
  /** Creates a token, as `keyturn-server token create` does: not over the network. */
  createToken(token: NewToken): Promise<{ readonly token: TokenView; readonly secret: string }>
  /** What the parts of the server share; for tools that work on the stores directly. */
  readonly context: ServerContext
}

async function openStores(options: ReleaseServerOptions): Promise<{ blobs: BlobStore; metadata: MetadataStore }> {
  const { dataDir } = options
  if (dataDir === undefined) {
    if (options.blobs === undefined || options.metadata === undefined) {
      throw new ServerError('SRV_CONFIG', 'Cannot start the server: neither a data folder nor both stores are given')
    }
    return { blobs: options.blobs, metadata: options.metadata }
  }
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const blobs = options.blobs ?? await openFolderBlobStore(join(dataDir, 'blobs'))
  return { blobs, metadata: options.metadata ?? openSqliteMetadataStore(join(dataDir, 'metadata.sqlite')) }
}

/**
 * Makes a release server on its stores. It listens once {@link ReleaseServer.listen} is called.
 *
 * @throws ServerError `SRV_CONFIG`, `SRV_STORAGE`.
 */
export async function createReleaseServer(options: ReleaseServerOptions): Promise<ReleaseServer> {
  const { clock = systemClock, random = systemRandom, log = silentLog } = options
  const { blobs, metadata } = await openStores(options)
  const requestIds = new RequestIds(random)
  const rates = new RateLimits(options.rates ?? {}, clock)
  const documents = new DocumentCache(metadata, blobs, { clock })
  const directory = new ProductDirectory(metadata, clock)
  const tree = new PublicTree({
    blobs, documents, directory,
    offload: options.offload,
    limit: (request) => rates.publicWait(request),
    requestId: () => requestIds.next(),
    onError: (error, requestId) => log.error({ request_id: requestId, err: describe(error) }, 'public request failed'),
  })
  const context: ServerContext = { blobs, metadata, documents, directory, tree, clock, random, log }
  const checker = new TokenChecker(context)
  const app = createApp({
    context, requestIds, rates,
    authenticate: (request: FastifyRequest) => checker.authenticate(request.headers.authorization),
    onAnswer: (request, reply) => log.info({
      request_id: request.id, actor: request.actor?.name ?? null, method: request.method, route: request.routeOptions.url ?? null,
      status: reply.statusCode, duration_ms: Math.round(reply.elapsedTime),
    }, 'request'),
    onPublicAnswer: () => undefined,
    routes: (instance) => registerRoutes(instance, context),
  })
  await blobs.sweep(clock() - 60_000)
  await sweepUploads(context)
  return {
    context,
    createToken: (token) => createToken(context, token, 'local', requestIds.next()),
    listen: async () => {
      const { host = '127.0.0.1', port = 0 } = options
      await app.listen({ host, port })
      const address = app.server.address() as AddressInfo
      return { url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`, port: address.port }
    },
    close: async () => {
      const timer = setTimeout(() => app.server.closeAllConnections(), options.drainMs ?? 30_000)
      app.server.closeIdleConnections()
      await app.close().finally(() => clearTimeout(timer))
      directory.close()
      documents.close()
      await metadata.close()
      await blobs.close()
    },
  }
}
