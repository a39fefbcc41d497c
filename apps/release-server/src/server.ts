import { mkdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { systemClock, systemRandom } from '@keyturn/primitives'
import type { Clock, RandomSource } from '@keyturn/primitives'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { createApp } from './app.ts'
import type { NewToken, TokenView } from '@keyturn/release-client'
import type { ServerContext, ServerLog } from './context.ts'
import { ServerError } from './errors.ts'
import type { RetentionOptions } from './releases/gc.ts'
import { Downloads } from './events/downloads.ts'
import { EventStreams } from './events/event-streams.ts'
import { registerRoutes } from './management/register.ts'
import { holdsVault, openServerVault } from './keys/server-vault.ts'
import type { VaultSettings } from './keys/server-vault.ts'
import { ServerKeys } from './keys/server-keys.ts'
import type { ExchangeParts } from './keys/exchange.ts'
import { OidcChecker } from './access/oidc.ts'
import type { OidcSettings } from './access/oidc.ts'
import { silentLog, describe } from './ops/log.ts'
import { AutoHalt } from './ops/auto-halt.ts'
import { HeadRenewal } from './ops/head-renewal.ts'
import { Metrics } from './ops/metrics.ts'
import { RateLimits } from './access/rates.ts'
import type { RateOptions } from './access/rates.ts'
import { publicCounter, requestLog } from './ops/request-log.ts'
import { RequestIds } from './http/request-ids.ts'
import { Upkeep } from './ops/upkeep.ts'
import type { UpkeepOptions } from './ops/upkeep.ts'
import { ProductDirectory } from './public/directory.ts'
import { DocumentCache } from './public/documents.ts'
import { PublicTree } from './public/handler.ts'
import type { PublicTreeOptions } from './public/handler.ts'
import { ReleaseChecks } from './releases/release-check.ts'
import { Funnel } from './events/funnel.ts'
import { Reports } from './events/reports.ts'
import type { HeadSigner } from './releases/rollout.ts'
import { Authenticator } from './access/sessions.ts'
import type { BlobStore } from './storage/blob-store.ts'
import { openFolderBlobStore } from './storage/folder-blob-store.ts'
import type { MetadataStore } from './storage/metadata-store.ts'
import { openSqliteMetadataStore } from './storage/sqlite-metadata-store.ts'
import { hasScope, maySee } from './access/actor.ts'
import type { Actor } from './access/actor.ts'
import { createToken, TokenChecker, tokenExpiry } from './access/tokens.ts'
import { LogKeys } from './tlog/log-keys.ts'
import { openLogWitness } from './tlog/log-witness.ts'
import type { LogWitnessSettings } from './tlog/log-witness.ts'
import { LogMonitor } from './tlog/log-monitor.ts'
import type { LogMonitorSettings } from './tlog/log-monitor.ts'
import { ReleaseLog } from './tlog/release-log.ts'
import type { ReleaseLogSettings } from './tlog/release-log.ts'
import type { LogWitness } from '@keyturn/tlog'
import { WebhookSecrets } from './events/webhook-secrets.ts'
import { WebhookSender } from './events/webhooks.ts'

/** Options of {@link createReleaseServer}. */
export interface ReleaseServerOptions {
  /** Folder of the embedded stores; required unless both `blobs` and `metadata` are given. */
  readonly dataDir?: string | undefined
  /** Default: the folder `blobs` in `dataDir`. */
  readonly blobs?: BlobStore | undefined
  /** Default: the SQLite file `metadata.sqlite` in `dataDir`. */
  readonly metadata?: MetadataStore | undefined
  /** Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Default 0: any free port. */
  readonly port?: number | undefined
  /** Address under which browsers see the server; default: any host that they name. */
  readonly publicUrl?: string | undefined
  readonly rates?: RateOptions | undefined
  /** Lets the proxy in front send blobs. */
  readonly offload?: PublicTreeOptions['offload'] | undefined
  /** Opens the vault of runtime keys and transport keys; without it the server delivers none. */
  readonly vault?: VaultSettings | undefined
  /** Signs changed heads and renews them; without it rollout and halt wait for a head from the publisher. */
  readonly headSigner?: HeadSigner | undefined
  /** Keeps a public log of what is published, and asks witnesses to sign it; needs the vault. */
  readonly releaseLog?: ReleaseLogSettings | undefined
  /** Is a witness for the logs of others; needs the vault. */
  readonly logWitness?: LogWitnessSettings | undefined
  /** Watches logs of others. */
  readonly logMonitor?: LogMonitorSettings | undefined
  /** Accepts tokens of an OIDC issuer. */
  readonly oidc?: OidcSettings | undefined
  /** What garbage collection keeps. */
  readonly retention?: RetentionOptions | undefined
  /** Collects garbage and scrubs from time to time; default: neither. */
  readonly upkeep?: UpkeepOptions | undefined
  /** Bearer token for `/metrics`; a token with `stats:read` does too. */
  readonly metricsToken?: string | undefined
  /** Default: nothing is logged. */
  readonly log?: ServerLog | undefined
  /** How long the server still answers after it reports "not ready", in milliseconds; default 0. */
  readonly drainDelayMs?: number | undefined
  /** How long open requests may take when the server closes, in milliseconds; default 30 000. */
  readonly drainMs?: number | undefined
  readonly clock?: Clock | undefined
  readonly random?: RandomSource | undefined
}

/** A release server in this process. */
export interface ReleaseServer {
  /** Starts to listen. */
  listen(): Promise<{ readonly url: string; readonly port: number }>
  /** Stops: no new requests, open ones end within `drainMs`, then the stores close. */
  close(): Promise<void>
  /** Creates a token, as `keyturn-server token create` does: not over the network. */
  createToken(token: NewToken): Promise<{ readonly token: TokenView; readonly secret: string }>
  /**
   * When a token ends, or ended: Unix milliseconds; undefined for one that is unknown or revoked.
   *
   * @param secret - What {@link createToken} returned as `secret`.
   */
  tokenExpiry(secret: string): Promise<number | undefined>
  /** Key of the log of a product, made if there is none; undefined for a server that keeps no logs. */
  logKey(product: string): Promise<string | undefined>
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
  const blobs = options.blobs ?? (await openFolderBlobStore(join(dataDir, 'blobs')))
  return { blobs, metadata: options.metadata ?? openSqliteMetadataStore(join(dataDir, 'metadata.sqlite')) }
}

/** What the public tree asks once the parts above it are there. */
interface LateParts {
  mayRead?: PublicTreeOptions['mayRead']
}

function createContext(
  options: ReleaseServerOptions,
  stores: { blobs: BlobStore; metadata: MetadataStore },
  { requestIds, rates, downloads, late }: Pick<Parts, 'requestIds' | 'rates' | 'downloads'> & { late: LateParts },
): ServerContext {
  const { clock = systemClock, random = systemRandom, log = silentLog, offload } = options
  const { blobs, metadata } = stores
  const documents = new DocumentCache(metadata, blobs, { clock })
  const directory = new ProductDirectory(metadata, clock)
  const tree = new PublicTree({
    blobs,
    documents,
    directory,
    offload,
    clock,
    counter: (product, channel, name) => downloads.counter(product, channel, name),
    countBlob: (sha256, bytes) => downloads.countBlob(sha256, bytes),
    limit: (request) => rates.publicWait(request),
    access: { wait: (request) => rates.accessWait(request), count: (request) => rates.countWrongAccess(request) },
    mayRead: (request, product, channel) => late.mayRead?.(request, product, channel) ?? Promise.resolve(false),
    requestId: () => requestIds.next(),
    onError: (error, requestId) => log.error({ request_id: requestId, err: describe(error) }, 'public request failed'),
  })
  return { blobs, metadata, documents, directory, tree, clock, random, log }
}

async function openExchange(
  context: ServerContext,
  settings: VaultSettings | undefined,
  metrics: Metrics,
): Promise<ExchangeParts | undefined> {
  if (settings === undefined) {
    // A replica whose settings lack the passphrase would refuse each launcher that asks it for a key, and only those.
    if (await holdsVault(context.metadata))
      context.log.warn({}, 'the vault is not opened: no passphrase is given, so no key is delivered from here')
    return undefined
  }
  const vault = await openServerVault(context.metadata, settings, context.random, () =>
    context.log.warn({}, 'a new, empty vault was created: keep its passphrase'),
  )
  return {
    context,
    vault,
    keys: new ServerKeys(context, vault),
    onOutcome: (outcome) => metrics.count('keyturn_runtime_key_exchanges_total', `outcome="${outcome}"`),
  }
}

/** The version in the API description. */
const API_VERSION = '1'

/** Everything that a server is made of, besides its HTTP side. */
interface Parts {
  readonly context: ServerContext
  readonly requestIds: RequestIds
  readonly rates: RateLimits
  readonly metrics: Metrics
  readonly exchange: ExchangeParts | undefined
  readonly reports: Reports
  readonly funnel: Funnel
  readonly autoHalt: AutoHalt
  readonly downloads: Downloads
  readonly checks: ReleaseChecks
  readonly secrets: WebhookSecrets
  readonly sender: WebhookSender
  readonly upkeep: Upkeep
  readonly renewal: HeadRenewal
  readonly authenticator: Authenticator
  readonly authenticate: (request: FastifyRequest) => Promise<Actor>
  readonly events: EventStreams
  readonly releaseLog: ReleaseLog | undefined
  readonly logWitness: LogWitness | undefined
  readonly logMonitor: LogMonitor | undefined
}

/** What has to do with transparency logs. */
async function openLogs(
  context: ServerContext,
  exchange: ExchangeParts | undefined,
  { releaseLog, logWitness, logMonitor: watched }: ReleaseServerOptions,
): Promise<Pick<Parts, 'releaseLog' | 'logWitness' | 'logMonitor'>> {
  const logMonitor = watched && new LogMonitor(context, watched)
  if (releaseLog === undefined && logWitness === undefined)
    return { releaseLog: undefined, logWitness: undefined, logMonitor }
  if (exchange === undefined)
    throw new ServerError('SRV_CONFIG', 'Cannot keep or witness a log without a vault: its key is kept there', {
      hint: 'Give the passphrase of the vault: KEYTURN_PASSPHRASE_FILE',
    })
  const keys = new LogKeys(exchange.vault, context.random)
  return {
    releaseLog: releaseLog === undefined ? undefined : new ReleaseLog(context, keys, releaseLog),
    logWitness: logWitness === undefined ? undefined : await openLogWitness(context, keys, logWitness),
    logMonitor,
  }
}

async function openParts(options: ReleaseServerOptions): Promise<Parts> {
  const { clock = systemClock, random = systemRandom } = options
  const requestIds = new RequestIds(random)
  const rates = new RateLimits(options.rates ?? {}, clock)
  const downloads = new Downloads()
  const late: LateParts = {}
  const context = createContext(options, await openStores(options), { requestIds, rates, downloads, late })
  downloads.start(context)
  const metrics = new Metrics()
  metrics.gauge('process_resident_memory_bytes', () => process.memoryUsage.rss())
  const exchange = await openExchange(context, options.vault, metrics)
  const secrets = new WebhookSecrets(exchange?.vault)
  await secrets.sealClear(context)
  const authenticator = new Authenticator(context, {
    tokens: new TokenChecker(context),
    oidc: options.oidc === undefined ? undefined : new OidcChecker(options.oidc),
    publicUrl: options.publicUrl,
  })
  late.mayRead = async (request, product, channel) => {
    try {
      const actor = await authenticator.authenticateBearer(request.headers.authorization)
      return hasScope(actor, 'releases:read') && maySee(actor, product, channel)
    } catch (error) {
      if (error instanceof ServerError && error.code === 'SRV_AUTH') return false
      throw error
    }
  }
  const funnel = new Funnel(context)
  const authenticate = (request: FastifyRequest): Promise<Actor> =>
    authenticator.authenticate(request).catch((error: unknown) => {
      if (error instanceof ServerError && error.code === 'SRV_AUTH') rates.countFailure(request)
      throw error
    })
  return {
    ...(await openLogs(context, exchange, options)),
    context,
    requestIds,
    rates,
    metrics,
    exchange,
    secrets,
    downloads,
    authenticator,
    authenticate,
    reports: new Reports(context),
    funnel,
    autoHalt: new AutoHalt(context, funnel, options.headSigner),
    checks: new ReleaseChecks(context),
    sender: new WebhookSender(context, secrets),
    upkeep: new Upkeep(context, options.upkeep ?? {}, options.retention ?? {}),
    renewal: new HeadRenewal(context, options.headSigner),
    events: new EventStreams(context, { authenticate }),
  }
}

function createHttpSide(parts: Parts, options: ReleaseServerOptions, isDraining: () => boolean): FastifyInstance {
  const { context, requestIds, rates, metrics, authenticator, authenticate, exchange, secrets } = parts
  return createApp({
    context,
    requestIds,
    rates,
    authenticate,
    onAnswer: requestLog({ metrics, log: context.log }),
    onPublicAnswer: publicCounter(metrics),
    routes: (instance) =>
      registerRoutes(instance, {
        context,
        authenticator,
        exchange,
        secrets,
        logWitness: parts.logWitness,
        version: API_VERSION,
        operation: {
          metrics,
          reports: parts.reports,
          funnel: parts.funnel,
          addressOf: (request) => rates.address(request.raw),
          downloads: parts.downloads,
          events: parts.events,
          checks: parts.checks,
          headSigner: options.headSigner,
          renewal: parts.renewal,
          retention: options.retention ?? {},
          metricsToken: options.metricsToken,
          isDraining,
          authenticate,
        },
      }),
  })
}

/**
 * Makes a release server on its stores. It listens once {@link ReleaseServer.listen} is called.
 *
 * @throws ServerError `SRV_CONFIG`, `SRV_STORAGE`; VaultError for a wrong passphrase.
 */
export async function createReleaseServer(options: ReleaseServerOptions): Promise<ReleaseServer> {
  const parts = await openParts(options)
  const { context, requestIds, sender, upkeep, renewal } = parts
  let draining = false
  let closing: Promise<void> | undefined
  const app = createHttpSide(parts, options, () => draining)
  await upkeep.tidy()
  const close = async (): Promise<void> => {
    draining = true
    if (options.drainDelayMs !== undefined && app.server.listening)
      await new Promise((resolve) => setTimeout(resolve, options.drainDelayMs))
    parts.events.close()
    await drain(app, options.drainMs ?? 30_000)
    await closeParts(parts)
  }
  return {
    context,
    logKey: async (product) => await parts.releaseLog?.keyOf(product),
    tokenExpiry: (secret) => tokenExpiry(context.metadata, secret),
    createToken: (token) => createToken(context, token, { actor: 'local', requestId: requestIds.next() }),
    listen: async () => {
      const { host = '127.0.0.1', port = 0 } = options
      // A burst of connections waits in the listen backlog and is not refused.
      await app.listen({ host, port, backlog: 4096 })
      sender.start()
      upkeep.start()
      renewal.start()
      parts.autoHalt.start()
      parts.releaseLog?.start()
      parts.logMonitor?.start()
      const address = app.server.address() as AddressInfo
      return { url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`, port: address.port }
    },
    close: () => (closing ??= close()),
  }
}

async function closeParts(parts: Parts): Promise<void> {
  const { context, sender, upkeep, renewal, checks, reports, downloads, exchange, releaseLog, logMonitor } = parts
  await Promise.all([sender.close(), upkeep.close(), renewal.close(), checks.close()])
  await Promise.all([releaseLog?.close(), logMonitor?.close()])
  await parts.autoHalt.close()
  await reports.flush()
  await parts.funnel.flush()
  await downloads.close()
  exchange?.keys.close()
  context.directory.close()
  context.documents.close()
  await context.metadata.close()
  await context.blobs.close()
}

/** Lets open requests end; what takes longer than `drainMs` is cut off: uploads continue elsewhere. */
async function drain(app: FastifyInstance, drainMs: number): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), drainMs)
  // Connections that are kept alive become idle one after the other, as their answers end.
  const idle = setInterval(() => app.server.closeIdleConnections(), 100)
  await app.close().finally(() => {
    clearTimeout(timer)
    clearInterval(idle)
  })
}
